import io

from tinsmith.base.progress import PlainProgress


def test_plain_lines_show_count_rate_and_time_left():
    stream = io.StringIO()
    with PlainProgress(stream, seconds=0.0).task("reading", total=10, unit="files") as advance:
        advance(4)
    line = stream.getvalue().splitlines()[0]
    assert "reading: 4 of 10 files" in line
    assert "files/s" in line
    assert "left" in line


def test_short_work_is_quiet():
    stream = io.StringIO()
    with PlainProgress(stream, seconds=60).task("reading", total=1, unit="files") as advance:
        advance(1)
    assert stream.getvalue() == ""
