"""Callbacks of scikit-learn 1.9 and later, such as a progress bar or early stopping, for the search.

With older versions the same code runs without callbacks.
"""

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # scikit-learn < 1.9

    class CallbackSupportMixin:
        """Base class of estimators without callbacks."""

        def _init_callback_context(self, **task):
            return _NoContext()


class _NoContext:
    """A callback context without callbacks."""

    def subcontext(self, **task):
        return self

    def call_on_fit_task_begin(self, **state):
        return self

    def call_on_fit_task_end(self, **state):
        return False


class Task:
    """A task of `fit` that is reported to callbacks, and begins when it is constructed.

    Parameters
    ----------
    context : CallbackContext
    state : dict
        The arguments of callbacks: the estimator, X, y and metadata.
    fitted_attributes : callable
        Function that maps learned attributes, of which one is `bandwidth_`, to all those of an estimator fitted so.
    """

    def __init__(self, context, state, fitted_attributes):
        self.context, self.state, self.fitted_attributes = context, state, fitted_attributes
        context.call_on_fit_task_begin(**state)

    def subtask(self, name, n_subtasks=None):
        """Begin a subtask, with a number of subtasks of its own, or None if that is unknown."""
        return Task(
            self.context.subcontext(task_name=name, max_subtasks=n_subtasks), self.state, self.fitted_attributes
        )

    def end(self, bandwidth, **learned):
        """End the task, with the best bandwidth so far or None. Returns whether a callback requests to stop."""
        attributes = None if bandwidth is None else lambda: self.fitted_attributes(bandwidth, **learned)
        return self.context.call_on_fit_task_end(reconstruction_attributes=attributes, **self.state)
