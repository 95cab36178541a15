"""Which language a process speaks, and that it speaks it end to end: --lang, the locale, a terminal's encoding."""

import os
import re
import subprocess
import sys

import pytest

from common.console import InputError
from common.guards import terminal
from common.guards.surroundings import choose_language
from common.workers import link
from tests.tools.scripts import ENVIRONMENT, ROOT

FRIENDS = ROOT / "friends"
ENGLISH = {key: value for key, value in ENVIRONMENT.items() if key not in ("LC_ALL", "LC_MESSAGES", "LANG")}
WORDS = re.compile(r"\b(is|are|the|expected|not|of|with|and|rows|fold|epoch|done|preset|error|no)\b")


@pytest.fixture(autouse=True)
def english(monkeypatch):
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    yield
    terminal.speak("en")


def start(folder, *words, **environment):
    """Exit code, stdout and stderr of `python <words>`."""
    env = {**ENGLISH, **environment}
    ended = subprocess.run([sys.executable, *map(str, words)], cwd=folder, env=env, capture_output=True, check=False)
    return ended.returncode, ended.stdout.decode("utf-8", "replace"), ended.stderr.decode("utf-8", "replace")


def is_korean():
    return terminal.told("a pipe") == "파이프"


@pytest.mark.parametrize(
    ("locale", "korean"),
    [
        ({}, False),
        ({"LANG": "ko_KR.UTF-8"}, True),
        ({"LANG": "ko_KR.UTF-8", "LC_MESSAGES": "en_US.UTF-8"}, False),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "ko"}, True),
        ({"LANG": "ko_KR", "LC_MESSAGES": "ko", "LC_ALL": "C"}, False),
        ({"LANG": "C", "LC_ALL": "ko_KR.UTF-8"}, True),
        ({"LANG": "ko_KR", "LC_ALL": ""}, True),
    ],
)
def test_the_first_of_the_locales_variables_decides(monkeypatch, locale, korean):
    for name, value in locale.items():
        monkeypatch.setenv(name, value)
    choose_language([])
    assert is_korean() == korean


@pytest.mark.parametrize(
    "argv", [["--lang", "ko"], ["--lang=ko"], ["--lang", "en", "--lang", "ko"], ["x", "--lang", "ko", "--y"]]
)
def test_lang_is_taken_out_of_the_command_line_and_the_last_one_holds(argv):
    rest = [word for word in argv if word in ("x", "--y")]
    choose_language(argv)
    assert argv == rest and is_korean()


def test_lang_goes_before_the_locale(monkeypatch):
    monkeypatch.setenv("LANG", "ko_KR.UTF-8")
    choose_language(["--lang", "en"])
    assert not is_korean()


@pytest.mark.parametrize("argv", [["--lang", "xx"], ["--lang"], ["--lang="], ["--lang", "KO"]])
def test_another_language_is_refused_in_a_sentence(argv):
    with pytest.raises(InputError, match="command line: --lang .* is not one of en, ko"):
        choose_language(argv)


def test_a_process_that_trains_for_another_one_speaks_english_because_its_log_is_read(monkeypatch):
    monkeypatch.setenv("LANG", "ko_KR.UTF-8")
    monkeypatch.setattr(link, "LINK", object())
    choose_language(argv := ["--lang", "ko"])
    assert not is_korean() and not argv


def test_a_terminal_without_hangul_gets_english_and_cp949_gets_korean(tmp_path):
    words = ("-m", "common.submission", "a.csv", "b.csv", "--lang", "ko")
    code, _, said = start(tmp_path, *words, PYTHONIOENCODING="ascii")
    assert code == 2 and said.startswith("error: ") and said.isascii()
    ended = subprocess.run(
        [sys.executable, *words],
        cwd=tmp_path,
        env={**ENGLISH, "PYTHONIOENCODING": "cp949"},
        capture_output=True,
        check=False,
    )
    assert ended.stderr.decode("cp949").startswith("오류: ")


def test_nothing_of_lang_is_imported_for_english():
    code = "import sys, common.console, common.guards.surroundings as s; s.choose_language([]); "
    code += "sys.exit('common.lang' in sys.modules)"
    assert start(ROOT, "-c", code)[0] == 0


@pytest.mark.parametrize(
    "words",
    [
        ("-m", "common.submission", "missing.csv", "other.csv"),
        ("-m", "common.report", "nowhere"),
        ("-m", "common.download", "frends"),
        ("-m", "common.lang", "--sentence"),
        (ROOT / "nsmc" / "predict.py", "--run_dir", "nowhere", "--test_fil", "x"),
        (ROOT / "klue_re" / "predict.py", "--run_dir", "nowhere"),
        (ROOT / "hand_signal" / "predict.py", "--lang", "xx"),
        (ROOT / "reon_face" / "crop.py", "nowhere", "out"),
        (ROOT / "friends" / "predict.py", "--weights", "a"),
    ],
    ids=lambda words: "-".join(str(word).rpartition("/")[2] for word in words[:3]),
)
def test_bad_input_is_refused_in_korean_with_exit_code_2(tmp_path, words):
    language = () if "--lang" in words else ("--lang", "ko")
    code, said, error = start(tmp_path, *words, *language, LANG="ko_KR.UTF-8")
    assert code == 2, error
    line = error.strip().splitlines()[-1]
    assert line.startswith("오류: ") and not said
    assert not WORDS.search(re.sub(r"'[^']*'|\S*[/_.-]\S*", "", line)), line


@pytest.mark.slow
def test_the_first_command_says_no_english_sentence(tmp_path):
    words = (FRIENDS / "train.py", "--lang", "ko", "--max_train_samples", "60", "--num_train_epochs", "1")
    code, said, error = start(tmp_path, *words, "--num_folds", "2", "--fold_workers", "1", "--disable_tqdm", "true")
    assert code == 0, error
    lines = said.splitlines()
    assert lines[0].startswith("프리셋 ") and lines[-1] == "완료: runs/friends/demo"
    assert [line for line in lines if line.split()[:2] == ["폴드", "에폭"]]
    english = [line for line in lines if WORDS.search(re.sub(r"'[^']*'|\S*[/_.-]\S*", "", line))]
    assert not english, english
    assert "--lang" not in (tmp_path / "runs/friends/demo/run.json").read_text(encoding="utf-8")
    assert "# friends" in (report := (tmp_path / "runs/friends/demo/report.md").read_text(encoding="utf-8"))
    assert "폴드" not in report
    assert os.environ.get("LANG") is None
