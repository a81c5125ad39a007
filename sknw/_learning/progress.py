"""scikit-learn's callbacks, where it has them (from 1.9 on): a progress bar, or an early stop, for the search.

Elsewhere the same code runs, and nobody watches.
"""

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # scikit-learn < 1.9

    class CallbackSupportMixin:
        """No callbacks."""

        def _init_callback_context(self, **task):
            return _NoContext()


class _NoContext:
    """A context without callbacks."""

    def subcontext(self, **task):
        return self

    def call_on_fit_task_begin(self, **state):
        return self

    def call_on_fit_task_end(self, **state):
        return False


class Task:
    """A part of `fit` that callbacks know about, begun when it is made.

    Parameters
    ----------
    context : CallbackContext
    state : dict
        What callbacks may ask for: the estimator, X, y, metadata.
    fitted_attributes : callable
        bandwidth -> the attributes of an estimator fitted with it.
    """

    def __init__(self, context, state, fitted_attributes):
        self.context, self.state, self.fitted_attributes = context, state, fitted_attributes
        context.call_on_fit_task_begin(**state)

    def subtask(self, name, n_subtasks=None):
        """A part of this task, with so many parts of its own; None if that is not known."""
        return Task(
            self.context.subcontext(task_name=name, max_subtasks=n_subtasks), self.state, self.fitted_attributes
        )

    def end(self, bandwidth):
        """Say that it is done, and with which bandwidth so far; whether a callback wants to stop here."""
        attributes = None if bandwidth is None else lambda: self.fitted_attributes(bandwidth)
        return self.context.call_on_fit_task_end(reconstruction_attributes=attributes, **self.state)
