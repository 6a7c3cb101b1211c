import pytest

from kdcompress.reporting import numbers

MINUS = "\N{MINUS SIGN}"


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (numbers.percent, 0.962, "96.20 %"),
        (numbers.percent, 1.0, "100.00 %"),
        (numbers.interval, (0.951, 0.973), "95.10 to 97.30 %"),
        (numbers.signed, -0.012, f"{MINUS}1.20"),
        (numbers.signed, -0.00001, "0.00"),
        (numbers.points, 0.012, "+1.20 points"),
        (numbers.distance, -0.012, "1.20 points"),
        (numbers.signed_interval, (-0.004, 0.02), f"{MINUS}0.40 to +2.00"),
        (numbers.count, 52_831_584, "52.8 M"),
        (numbers.count, 999_999, "1.00 M"),
        (numbers.count, 640, "640"),
        (numbers.count, 0, "–"),
        (numbers.tick, 10_000_000, "10 M"),
        (numbers.macs, 228_480, "228 k MACs"),
        (numbers.size, 363_000, "363 kB"),
        (numbers.size, 999, "999 B"),
        (numbers.ratio, 231.23, "231 : 1"),
        (numbers.ratio, 24.45, "24.4 : 1"),
        (numbers.ratio, 6.254, "6.25 : 1"),
        (numbers.ratio, 4_120.0, "4,120 : 1"),
        (numbers.milliseconds, 0.0452, "0.045 ms"),
        (numbers.milliseconds, 77.94, "77.9 ms"),
        (numbers.seconds, 41.25, "41.2 s"),
        (numbers.seconds, 92.4, "1 min 32 s"),
        (numbers.seconds, 7_384, "2 h 3 min"),
        (numbers.decimal, 0.05214, "0.05214"),
        (numbers.decimal, 1.5e-24, f"1.5e{MINUS}24"),
        (numbers.whole, 12_345, "12,345"),
    ],
)
def test_numbers_are_written_with_unit_and_three_or_so_digits(write, value, text):
    assert write(value) == text


@pytest.mark.parametrize(
    "write",
    [
        numbers.percent,
        numbers.interval,
        numbers.signed,
        numbers.points,
        numbers.signed_interval,
        numbers.count,
        numbers.macs,
        numbers.size,
        numbers.ratio,
        numbers.milliseconds,
        numbers.seconds,
        numbers.decimal,
        numbers.whole,
    ],
)
def test_what_is_not_known_is_a_dash(write):
    assert write(None) == numbers.DASH


@pytest.mark.parametrize("write", [numbers.percent, numbers.points, numbers.macs, numbers.ratio, numbers.decimal])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_a_dash(write, value):
    assert write(value) == numbers.DASH
