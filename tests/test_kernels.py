import pickle

import mpmath
import numpy as np
import oracle
import pytest
from exact import LOG_KERNELS

from sknw import Kernel
from sknw._kernels import FORMS, KERNELS

U = np.concatenate([[0.0], np.geomspace(1e-6, 0.999, 60), [1.001, 1.5, 3.0, 20.0]])
every_kernel = pytest.mark.parametrize("name", KERNELS)


@every_kernel
@np.errstate(divide="ignore", invalid="ignore")
def test_kernel_is_the_definition(name):
    kernel, t = KERNELS[name], U**2
    expected = np.exp(oracle.KERNELS[name](t))
    np.testing.assert_allclose(kernel(t), expected, rtol=1e-12)
    np.testing.assert_allclose(np.exp(kernel.log(t)), expected, rtol=1e-12)
    np.testing.assert_allclose(kernel.weight(t.copy()), expected, rtol=1e-12)
    np.testing.assert_array_equal(t, U**2)  # a call leaves its argument alone


@every_kernel
def test_kernel_starts_at_one_and_never_grows(name):
    values = KERNELS[name](np.linspace(0, 3, 500))
    assert values[0] == 1
    assert np.all(np.diff(values) <= 0)
    assert np.all(values >= 0)


@every_kernel
def test_edge_belongs_to_the_support_only_where_the_kernel_jumps(name):
    kernel = KERNELS[name]
    near_edge = np.array([1 - 1e-13, 1.0, 1 + 1e-13])
    assert kernel.jumps == (name == "boxcar")
    if kernel.compact:
        np.testing.assert_array_equal(kernel(near_edge), 1.0 if kernel.jumps else 0.0)
        assert not kernel(np.array([1 + 1e-11])).any()
        assert kernel(np.array([1 - 1e-11])).all()


@pytest.mark.parametrize("name", [name for name, kernel in KERNELS.items() if kernel.log_slope])
def test_log_slope_is_the_derivative_of_log(name):
    kernel, t = KERNELS[name], np.array([1e-4, 0.01, 0.1, 0.3, 0.6, 0.9])
    expected = [float(mpmath.diff(LOG_KERNELS[name], mpmath.mpf(float(x)))) for x in t]
    np.testing.assert_allclose(kernel.log_slope(t), expected, rtol=1e-10)


@every_kernel
def test_convex_fact(name):
    values = KERNELS[name](np.linspace(0, 2, 4001))
    curvature = values[:-2] - 2 * values[1:-1] + values[2:]
    assert KERNELS[name].convex == bool(np.all(curvature > -1e-12))


@every_kernel
def test_smooth_fact(name):
    slope_at_zero = (1 - KERNELS[name](np.array([1e-10]))[0]) / 1e-10
    assert KERNELS[name].smooth == (slope_at_zero < 10)


@every_kernel
def test_coefficients_fact(name):
    kernel, u = KERNELS[name], np.linspace(0, 0.99, 50)
    if kernel.coefficients:
        np.testing.assert_allclose(np.polynomial.Polynomial(kernel.coefficients)(u), kernel(u**2), atol=1e-14)
    else:
        assert not kernel.compact or name == "cosine"


@every_kernel
def test_facts_about_the_formula(name):
    assert KERNELS[name].form == (name if name in FORMS else "")


def test_form_must_be_one_that_is_known():
    with pytest.raises(ValueError, match=r"form must be one of .*'gaussian'.*, got 'gauss'"):
        Kernel(np.negative, form="gauss")


def test_support_cuts_a_kernel_given_by_its_log():
    truncated = Kernel(lambda t: -t / 2, support=2.0)
    assert truncated.jumps
    np.testing.assert_array_equal(truncated(np.array([3.9, 4.0, 4.1])) > 0, [True, True, False])


def test_log_must_be_a_function():
    with pytest.raises(TypeError, match=r"log must be a function of t.*got 'gaussian'"):
        Kernel("gaussian")


def test_support_must_be_positive():
    with pytest.raises(ValueError, match="support must be positive, got 0"):
        Kernel(np.negative, support=0)


@every_kernel
def test_kernels_pickle(name):
    assert pickle.loads(pickle.dumps(KERNELS[name])) == KERNELS[name]
