"""The house's own rules: what of CONTRIBUTING.md can be checked, and the wheel made of it."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PRODUCTION = [
    *sorted((ROOT / "agentwatch").rglob("*.py")),
    *sorted((ROOT / "cli" / "agentwatch_cli").rglob("*.py")),
]
TESTS = sorted((ROOT / "tests").rglob("*.py"))
OTHERS = [
    path for name in ("bench", "docs", "examples", "prove") for path in (ROOT / name).rglob("*.py")
]

#: modules without a test file of their name, and what tests them in its place
TESTED_ELSEWHERE = {
    "agentwatch/core/bounds.py": "core/test_ledger_parts.py",
    "agentwatch/core/usage.py": "core/test_prices.py",
    "agentwatch/errors.py": "cli/test_main.py",
    "agentwatch/wire/dialect.py": "wire/test_openai.py",
    "agentwatch/standin/openai_media_voice.py": "e2e/test_media.py",
    "agentwatch/standin/openai_hosted.py": "e2e/test_hosted_tools.py",
    # the daemon is tested as the process that it is
    "agentwatch/daemon/access.py": "e2e/test_threats_requests.py",
    "agentwatch/daemon/channels.py": "e2e/test_alert_delivery.py",
    "agentwatch/daemon/courier.py": "e2e/test_alert_delivery.py",
    "agentwatch/sections.py": "test_settings.py",
    "agentwatch/daemon/control.py": "e2e/test_threats_control.py",
    "agentwatch/daemon/control_budgets.py": "e2e/test_threats_control.py",
    "agentwatch/daemon/control_sessions.py": "e2e/test_threats_control.py",
    "agentwatch/daemon/fields.py": "e2e/test_threats_control.py",
    "agentwatch/daemon/following.py": "e2e/test_threats_control.py",
    "agentwatch/daemon/preflight.py": "e2e/test_threats_control.py",
    # each provider's client in each of its calls
    "agentwatch/sdk/transport.py": "sdk/test_matrix.py",
    "agentwatch/sdk/straight.py": "sdk/test_matrix.py",
    "agentwatch/sdk/watching.py": "sdk/test_wrapping.py",
    "agentwatch/sdk/gemini.py": "sdk/test_matrix.py",
    "agentwatch/sdk/groq.py": "sdk/test_matrix.py",
    "agentwatch/sdk/xai.py": "sdk/test_matrix.py",
    "agentwatch/daemon/encodings.py": "e2e/test_upstream_faults.py",
    "agentwatch/daemon/failpoints.py": "e2e/test_crash.py",
    "agentwatch/daemon/proxy.py": "e2e/test_threats_requests.py",
    "agentwatch/daemon/shapes.py": "e2e/test_threats_control.py",
    "agentwatch/daemon/upstream.py": "e2e/test_threats_headers.py",
    "agentwatch/daemon/control_telemetry.py": "e2e/test_telemetry.py",
    "agentwatch/daemon/telemetry_frames.py": "daemon/test_telemetry_worker.py",
    "agentwatch/daemon/telemetry_link.py": "e2e/test_telemetry.py",
    "agentwatch/daemon/trace.py": "e2e/test_telemetry.py",
    "agentwatch/core/telemetry_settings.py": "test_settings.py",
    "agentwatch/core/call_record.py": "store/test_store_telemetry.py",
    # a command's parts are tested through the command
    "cli/agentwatch_cli/commands/budgets.py": "cli/test_sessions_command.py",
    "cli/agentwatch_cli/commands/env.py": "cli/test_run_command.py",
    "cli/agentwatch_cli/commands/report.py": "cli/test_run_report.py",
    "cli/agentwatch_cli/demo_agent.py": "cli/test_demo.py",
    "cli/agentwatch_cli/demo_scene.py": "cli/test_demo.py",
    "cli/agentwatch_cli/demo_view.py": "cli/test_demo.py",
    "cli/agentwatch_cli/doctor_checks.py": "cli/test_doctor_command.py",
    "cli/agentwatch_cli/report_formats.py": "cli/test_run_report.py",
    "cli/agentwatch_cli/run_daemon.py": "cli/test_run_command.py",
    "cli/agentwatch_cli/run_process.py": "cli/test_run_command.py",
    "cli/agentwatch_cli/run_session.py": "cli/test_run_command.py",
    "cli/agentwatch_cli/run_watch.py": "cli/test_run_command.py",
    "cli/agentwatch_cli/top.py": "cli/test_sessions_command.py",
    "cli/agentwatch_cli/views.py": "cli/test_sessions_command.py",
}

#: what the command line must not load before a command asks for it
HEAVY = {
    *("aiohttp", "asyncio", "genai_prices", "httpx", "msgspec", "openai", "platformdirs"),
    *("rich", "sqlite3", "sqlite_utils", "tiktoken", "uvloop"),
}


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _tracked() -> Iterator[tuple[str, str]]:
    """Name and text of each file that git knows (all of them where there is no git)."""
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
        ).stdout.split("\0")
    except (OSError, subprocess.CalledProcessError):
        folders = ("agentwatch", "cli", "tests", "docs", "bench", "examples", "prove", "systemd")
        files = [path for folder in folders for path in (ROOT / folder).rglob("*")]
        files += [path for path in ROOT.iterdir() if path.is_file()]
        listed = [_name(path) for path in files if "__pycache__" not in path.parts]
    for name in filter(None, listed):
        path = ROOT / name
        if path.is_file():
            try:
                yield name, path.read_text(encoding="utf-8")
            except UnicodeDecodeError:
                continue


def test_each_module_says_what_it_is_for() -> None:
    silent = [
        _name(path)
        for path in (*PRODUCTION, *TESTS, *OTHERS)
        if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert silent == []


def test_no_file_became_the_obvious_place() -> None:
    counted = {_name(path): path.read_text(encoding="utf-8").count("\n") for path in PRODUCTION}
    assert {name: lines for name, lines in counted.items() if lines > 400} == {}


def test_each_module_has_a_test_file_of_its_name() -> None:
    names = {path.name for path in TESTS}
    untested = []
    for path in PRODUCTION:
        own = {f"test_{path.stem}.py", f"test_{path.stem}_command.py"}
        own.add(f"test_{path.parent.name}_{path.stem}.py")
        elsewhere = TESTED_ELSEWHERE.get(_name(path))
        known = own & names or (elsewhere and (ROOT / "tests" / elsewhere).exists())
        if not (path.stem.startswith("__") or known):
            untested.append(_name(path))
    assert untested == []


def test_what_is_listed_as_tested_elsewhere_is_there() -> None:
    assert [name for name in TESTED_ELSEWHERE if not (ROOT / name).exists()] == []


def test_nothing_is_left_unfinished_or_skipped() -> None:
    # put together here, or this file would be the first to be found
    words = ("TO" + "DO", "FIX" + "ME", "NotImplemented" + "Error", "xf" + "ail")
    calls = (r"pytest\.sk" + r"ip\(", r"mark\.sk" + r"ip\b", "Exception: *pa" + "ss")
    unfinished = re.compile("|".join((*words, *calls)))
    found = [
        f"{_name(path)}:{number}: {line.strip()}"
        for path in (*PRODUCTION, *TESTS, *OTHERS)
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if unfinished.search(line)
    ]
    assert found == []


def test_nothing_in_the_tree_is_true_on_one_machine_only() -> None:
    here = re.compile(
        "/(tm" + "p|work|root)/[a-z]|pypi\\.(org|python)|python" + "hosted|npm" + "js"
    )
    found = [
        f"{name}:{number}: {line.strip()[:100]}"
        for name, text in _tracked()
        for number, line in enumerate(text.splitlines(), 1)
        if here.search(line)
    ]
    assert found == []


def test_the_locks_name_hashes_and_no_address() -> None:
    for lock in sorted(ROOT.glob("requirements*.txt")):
        text = lock.read_text(encoding="utf-8")
        assert not re.search(r"://|^-|^#", text, re.M), lock.name
        pins = re.findall(r"^[a-z0-9].*?(?=^[a-z0-9]|\Z)", text, re.M | re.S)
        assert pins
        assert all("--hash=sha256:" in pin for pin in pins), lock.name


def test_what_is_tested_is_what_is_installed() -> None:
    def pins(name: str) -> dict[str, str]:
        text = (ROOT / name).read_text(encoding="utf-8")
        return dict(re.findall(r"^([a-z0-9][a-z0-9-]*)==(\S+)", text, re.M))

    tested = pins("requirements-dev.txt")
    assert pins("requirements.txt").items() <= tested.items()
    assert pins("requirements-build.txt").items() <= tested.items()


def test_a_command_starts_without_what_it_does_not_need() -> None:
    code = (
        "import sys, agentwatch_cli.main as main; main.build();"
        f"print(*sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.split() == []


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy of the sources, as building leaves traces."""
    source = tmp_path_factory.mktemp("source")
    for name in ("agentwatch", "cli", "systemd"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    target = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)],
        cwd=source,
        check=True,
        capture_output=True,
        timeout=100,
    )
    (built,) = target.glob("*.whl")
    return built


def test_the_wheel_holds_the_program_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    code = {_name(path).removeprefix("cli/") for path in PRODUCTION}
    data = {"agentwatch/py.typed", "agentwatch/data/NOTICE"}
    data.add("agentwatch/data/o200k_base.tiktoken.xz")
    shared = "agentwatch-0.1.0.data/data/share/agentwatch"
    units = {f"{shared}/{_name(path)}" for path in (ROOT / "systemd").rglob("*") if path.is_file()}
    info = {name for name in names if name.startswith("agentwatch-0.1.0.dist-info/")}
    assert names - info == code | data | units
    assert "agentwatch-0.1.0.dist-info/licenses/LICENSE" in info


def test_the_wheel_works_where_the_sources_are_not(wheel: Path, tmp_path: Path) -> None:
    """A venv of its own, which gets its libraries from this one, and AgentWatch from the wheel."""
    home = tmp_path / "venv"
    venv.create(home, with_pip=False, symlinks=True)
    python = home / "bin" / "python"
    site = Path(_run(python, "import sysconfig; print(sysconfig.get_path('purelib'))"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    _borrow_libraries(site)
    where = _run(python, "import agentwatch, agentwatch_cli; print(agentwatch_cli.__file__)")
    assert Path(where).is_relative_to(site)
    entry = "import sys; sys.argv = ['agentwatch', '--version']\n"
    entry += "from importlib.metadata import entry_points\n"
    entry += "(found,) = entry_points(group='console_scripts', name='agentwatch')\nfound.load()()"
    assert _run(python, entry) == "agentwatch 0.1.0"
    known = (
        "from agentwatch.pricing import load_book; print(load_book(None).find('openai', 'gpt-4o'))"
    )
    assert "ModelPrice" in _run(python, known)


def _borrow_libraries(site: Path) -> None:
    """Link this environment's libraries into another, but for AgentWatch itself."""
    for found in Path(sysconfig.get_path("purelib")).iterdir():
        if not (found.suffix == ".pth" or "agentwatch" in found.name or found.name in {"pip"}):
            (site / found.name).symlink_to(found)


def _run(python: Path, code: str) -> str:
    done = subprocess.run(
        [python, "-I", "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
