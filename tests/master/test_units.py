"""The units in systemd/ say what systemd understands, and leave as little open as they claim."""

import shutil
import subprocess
from pathlib import Path

import pytest

UNITS = Path(__file__).parents[2] / "systemd"

pytestmark = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not here")


def _analyze(*words):
    done = subprocess.run(["systemd-analyze", "--no-pager", *words], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def _install(directory, *drop_ins):
    for unit in (*UNITS.glob("*.service"), *UNITS.glob("*.socket")):
        (directory / unit.name).write_text(unit.read_text().replace("/opt/edge/bin/edge ", "/bin/true "))
    (directory / "edge.service.d").mkdir()
    for name in drop_ins:
        shutil.copy(UNITS / "drop-ins" / name, directory / "edge.service.d")
    return directory / "edge.service"


@pytest.mark.slow
@pytest.mark.parametrize("drop_ins", [(), ("own-ports.conf",)], ids=["alone", "with ports of its own"])
def test_exposure_is_at_most_two(tmp_path, drop_ins):
    code, said = _analyze("security", "--offline=true", "--threshold=20", str(_install(tmp_path, *drop_ins)))
    if "unrecognized option" in said:
        pytest.skip("this systemd cannot judge a unit that is not installed")
    if "directory '/run/systemd" in said:
        pytest.skip("without systemd running, systemd-analyze needs root")

    assert code == 0, said


@pytest.mark.parametrize("drop_ins", [(), ("own-ports.conf",)], ids=["alone", "with ports of its own"])
def test_systemd_understands_every_line(tmp_path, drop_ins):
    service = _install(tmp_path, *drop_ins)
    _, said = _analyze("verify", "--man=no", str(service), *map(str, tmp_path.glob("*.socket")))

    assert not [line for line in said.splitlines() if "edge" in line], said


def test_a_stop_waits_longer_than_a_drain():
    from edge.config.tree import Server
    from edge.master.plan import LEAVE_GRACE_S

    timeout = next(
        float(line.partition("=")[2].rstrip("s"))
        for line in (UNITS / "edge.service").read_text().splitlines()
        if line.startswith("TimeoutStopSec=")
    )

    assert timeout > Server().drain_s + LEAVE_GRACE_S


def test_a_start_waits_longer_than_a_birth():
    from edge.master.house import BOOT_S

    assert f"TimeoutStartSec={BOOT_S + 30:.0f}s" in (UNITS / "edge.service").read_text()


def test_the_names_in_the_readme_are_the_sockets():
    readme = (UNITS / "README.md").read_text()
    for unit in UNITS.glob("*.socket"):
        name = unit.read_text().partition("FileDescriptorName=")[2].splitlines()[0]

        assert f'"systemd:{name}"' in readme
        assert f'"systemd:{name}"' in unit.read_text()
