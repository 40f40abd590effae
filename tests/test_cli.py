"""The shell command: exit codes, what is printed where, and what is written."""

import io
import json
import os
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import sk_arcal
from sk_arcal import cli
from sk_arcal.audit import routing_audit
from sk_arcal.feature_extraction._cache import RowCache, row_digests

KEYS = {"n", "n_classes", "scorecard", "features", "recommendation"}
FEATURE_KEYS = {"verdict", "pvalue", "pvalue_adjusted", "min_detectable_gap", "excess_gap"}


@pytest.fixture(scope="module")
def predictions(tmp_path_factory):
    """A csv in which the load knows something and the noise does not."""
    rng = np.random.default_rng(3)
    n = 400
    logit, load = rng.normal(0.5, 1.0, n), rng.normal(size=n)
    right = rng.random(n) < 1 / (1 + np.exp(-logit - 2.5 * load))
    path = tmp_path_factory.mktemp("cli") / "predictions.csv"
    pd.DataFrame(
        {
            "correct": right.astype(int),
            "confidence": 1 / (1 + np.exp(-logit)),
            "load": load,
            "noise": rng.normal(size=n),
        }
    ).to_csv(path, index=False)
    return path


def write(folder, text, name="table.csv"):
    path = folder / name
    path.write_text(text)
    return str(path)


# --- bad input -----------------------------------------------------------------------------------


def refused(capsys, *arguments):
    """Run the command on bad input and return its one sentence."""
    assert cli.main([str(argument) for argument in arguments]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("sk-arcal: error: ")
    assert err.count("\n") == 1
    return err


GOOD = "correct,confidence,load\n1,0.9,1\n0,0.6,2\n1,0.8,3\n"


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("", [], "table.csv: the file is empty"),
        ("correct,confidence\n1,0.9\n", [], "a single row"),
        (
            "correct,confidence\n1,0.9\n0,high\n",
            [],
            "table.csv: `confidence` holds 'high' in line 3",
        ),
        ("correct,confidence\n1,0.9\n0,1.7\n", [], "`confidence` holds 1.7 in line 3"),
        ("correct,confidence\n1,0.9\n0\n", [], "line 3 has 1 cell where the header has 2"),
        (GOOD, ["--target", "truth"], "`target`='truth' matches no column"),
        (GOOD, ["--confidence", "p_*"], "`confidence`='p_*' matches no column"),
        (GOOD, ["--routing", "load", "depth*"], "`routing`='depth*' matches no column"),
        (GOOD, ["--group", "doc"], "`group`='doc' matches no column"),
        (GOOD, ["--split", "part"], "`split`='part' matches no column"),
        (GOOD, ["--join", "absent.csv"], "absent.csv does not exist"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(tmp_path, capsys, text, options, message):
    assert message in refused(capsys, "audit", write(tmp_path, text), *options)


def test_missing_file_is_one_sentence_and_exit_code_2(tmp_path, capsys):
    assert "absent.csv does not exist" in refused(capsys, "audit", tmp_path / "absent.csv")


def test_missing_extra_is_one_sentence_and_exit_code_2(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    message = refused(capsys, "audit", write(tmp_path, GOOD))
    assert 'pip install "sk-arcal[report]"' in message


@pytest.mark.parametrize("option", ["--report", "--json"])
def test_output_is_checked_before_anything_is_read(tmp_path, capsys, option):
    target = tmp_path / "absent" / "out"
    message = refused(capsys, "audit", tmp_path / "also_absent.csv", option, target)
    assert f"{option} {target}: the folder {target.parent} does not exist" in message


def test_output_that_is_a_folder_is_refused(tmp_path, capsys):
    assert "is a folder" in refused(capsys, "audit", "x.csv", "--json", tmp_path)


@pytest.mark.parametrize("role", ["file", "join"])
def test_output_never_overwrites_an_input(tmp_path, capsys, role):
    path = write(tmp_path, GOOD)
    arguments = [path] if role == "file" else ["other.csv", "--join", path]
    assert "overwrite an input" in refused(capsys, "audit", *arguments, "--json", path)


def test_bad_input_shows_no_traceback_in_a_shell(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "sk_arcal.cli", "audit", str(tmp_path / "absent.csv")],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(Path(sk_arcal.__file__).parents[1])},
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.splitlines() == [
        f"sk-arcal: error: {tmp_path / 'absent.csv'} does not exist."
    ]


def test_fault_of_our_own_shows_its_traceback(monkeypatch, tmp_path):
    def broken(*_):
        raise RuntimeError("a bug")

    monkeypatch.setattr(cli, "_read_files", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        cli.main(["audit", write(tmp_path, GOOD)])


@pytest.mark.parametrize(
    "arguments", [[], ["audit"], ["audit", "x.csv", "--seed", "one"], ["unknown"]], ids=str
)
def test_wrong_usage_exits_with_code_2(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert "usage: sk-arcal" in capsys.readouterr().err


def test_version_is_printed(capsys):
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert capsys.readouterr().out == f"sk-arcal {sk_arcal.__version__}\n"


# --- audits that run -----------------------------------------------------------------------------


def test_audit_prints_the_mapping_then_the_verdicts_and_writes_both_files(
    predictions, tmp_path, capsys
):
    report, numbers = tmp_path / "r.html", tmp_path / "r.json"
    options = ["--routing", "load", "noise", "--report", str(report), "--json", str(numbers)]
    code = cli.main(["audit", str(predictions), *options])
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    assert out.startswith("predictions.csv: 400 rows\n  outcome     `correct` is 1\n")
    assert out.index("routing     load, noise") < out.casefold().index("signal")
    assert f"Report written to {report}" in out
    assert report.read_text(encoding="utf-8").lstrip().lower().startswith("<!doctype html>")
    result = json.loads(numbers.read_text())
    assert set(result) >= KEYS
    assert set(result["features"]) >= {"load", "noise"}
    assert all(set(feature) >= FEATURE_KEYS for feature in result["features"].values())
    assert result["features"]["load"]["verdict"] == "signal"
    assert result["features"]["noise"]["verdict"] != "signal"


def test_quiet_audit_prints_the_verdicts_only(predictions, capsys):
    assert cli.main(["audit", str(predictions), "--routing", "load", "--quiet"]) == 0
    out = capsys.readouterr().out
    assert "outcome" not in out.splitlines()[0]
    assert "load" in out


# --- several files -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two small runs under the same name in two folders, and one under another name."""
    folder = tmp_path_factory.mktemp("runs")
    paths = [folder / "one" / "seed_0.csv", folder / "two" / "seed_0.csv", folder / "seed_1.csv"]
    for k, path in enumerate(paths):
        rng = np.random.default_rng(k)
        logit = rng.normal(size=80)
        path.parent.mkdir(exist_ok=True)
        pd.DataFrame(
            {
                "correct": (rng.random(80) < 1 / (1 + np.exp(-2 * logit))).astype(int),
                "confidence": 1 / (1 + np.exp(-logit)),
                "load": rng.normal(size=80),
            }
        ).to_csv(path, index=False)
    return paths


def audit_files(capsys, *arguments):
    code = cli.main(["audit", *map(str, arguments), "--routing", "load"])
    out, err = capsys.readouterr()
    assert (code, err) == (0, "")
    return out


def test_several_files_are_runs_named_by_their_stems(runs, tmp_path, capsys):
    report, numbers = tmp_path / "r.html", tmp_path / "r.json"
    out = audit_files(capsys, runs[0], runs[2], "--report", report, "--json", numbers)
    assert out.startswith("seed_0.csv: 80 rows\n")
    assert "2 runs (seed_0, seed_1) on the same 80 items." in out
    assert f"Report written to {report}" in out
    assert "Routing audit of 2 runs" in report.read_text(encoding="utf-8")
    found = json.loads(numbers.read_text())
    assert list(found["runs"]) == ["seed_0", "seed_1"]
    assert found["features"]["load"]["verdict"] != "signal"
    assert found["settings"]["controls"] == "candidates"


def test_files_of_one_name_are_told_apart_by_their_paths(runs, tmp_path, capsys):
    numbers = tmp_path / "r.json"
    options = ["--quiet", "--controls", "all", "--json", numbers]
    audit_files(capsys, *runs[:2], *options)
    found = json.loads(numbers.read_text())
    assert list(found["runs"]) == [str(path) for path in runs[:2]]
    assert found["settings"]["controls"] == "all"


def test_join_is_refused_beside_several_files(runs, capsys):
    message = refused(capsys, "audit", runs[0], runs[2], "--join", runs[1])
    assert "--join adds columns to one file" in message


def test_same_file_twice_is_refused(runs, capsys):
    assert "A file is given twice" in refused(capsys, "audit", runs[0], runs[2], runs[0])


def test_output_never_overwrites_any_of_several_files(runs, capsys):
    message = refused(capsys, "audit", runs[0], runs[2], "--json", runs[2])
    assert "overwrite an input" in message


def test_runs_of_different_length_are_refused(runs, tmp_path, capsys):
    short = write(tmp_path, GOOD, "short.csv")
    assert "the same items in the same order" in refused(capsys, "audit", runs[0], short, "--quiet")


def test_unknown_extent_of_controls_is_refused(runs, capsys):
    with pytest.raises(SystemExit):
        cli.main(["audit", str(runs[0]), "--controls", "some"])
    assert "invalid choice: 'some'" in capsys.readouterr().err


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The demo run in an empty folder: exit code, what it printed, and the folder."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch, io.StringIO() as out:
        patch.chdir(folder)
        patch.setattr(sys, "stdout", out)
        code = cli.main(["demo", "--json", "demo.json"])
        return code, out.getvalue(), folder


def test_demo_finds_the_planted_feature_and_not_the_null_one(demo):
    code, _, folder = demo
    features = json.loads((folder / "demo.json").read_text())["features"]
    assert code == 0
    assert features["planted"]["verdict"] == "signal"
    assert features["null"]["verdict"] != "signal"


def test_demo_writes_its_report_into_the_current_folder(demo):
    _, out, folder = demo
    assert (folder / cli.DEMO_REPORT).exists()
    assert f"Report written to {cli.DEMO_REPORT}" in out


@pytest.mark.slow
def test_real_logits_are_audited_with_the_known_calibration_errors(shared_data, tmp_path, capsys):
    path = shared_data / "logits" / "cifar10_psr_resnet50_val_test.npz"
    numbers = tmp_path / "r.json"
    assert cli.main(["audit", str(path), "--json", str(numbers)]) == 0
    scorecard = {row["name"]: row for row in json.loads(numbers.read_text())["scorecard"]}
    # 10.69 % and 2.35 %: computed for this split when the file was converted.
    assert scorecard["raw"]["ece"] == pytest.approx(0.1069, abs=1e-4)
    assert scorecard["temperature"]["ece"] == pytest.approx(0.0235, abs=1e-4)


# --- warnings ------------------------------------------------------------------------------------


def test_warning_is_one_sentence_on_the_error_stream(capsys):
    with cli._plain_warnings():
        warnings.simplefilter("always")
        for _ in range(3):
            warnings.warn("the temperature is odd", stacklevel=1)
    assert capsys.readouterr().err == "sk-arcal: warning: the temperature is odd\n"


def test_letters_the_terminal_cannot_show_do_not_stop_the_command(monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    cli._say("at least δ")
    sys.stdout.flush()
    assert raw.getvalue() == b"at least ?\n"


def test_reader_that_leaves_early_does_not_stop_the_command(monkeypatch):
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as nobody:
        monkeypatch.setattr(sys, "stdout", nobody)
        cli._say("the verdict")
        cli._say("more of it")
        monkeypatch.undo()


# --- the cache of extracted rows -----------------------------------------------------------------


@pytest.fixture
def cache(tmp_path):
    """A cache with two namespaces: four rows, used an hour ago, and three."""
    cache = RowCache(tmp_path / "cache")
    for number, name in ((4, "old"), (3, "new")):
        table = cache.namespace({"backbone": name, "layers": [1, 2]})
        table.write(row_digests(np.arange(number)), np.ones((number, 500)))
        if name == "old":
            for path in table.folder.glob("*.shard"):
                os.utime(path, (1.7e9, 1.7e9))
    return cache


def run_cache(capsys, *options):
    assert cli.main(["cache", *map(str, options)]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_cache_says_what_it_holds(cache, capsys):
    lines = run_cache(capsys, "--folder", cache.folder).splitlines()
    assert lines[0] == f"{cache.folder}: 2 namespaces, 7 rows, {cache.size() / 1000:.3g} kB"
    assert len(lines) == 7
    name = cache.namespace({"backbone": "old", "layers": [1, 2]}).folder.name
    at = next(i for i, line in enumerate(lines) if line.startswith(name))
    assert lines[at].startswith(f"{name}: 4 rows, 16.3 kB, last used 2023-11-1")
    assert lines[at + 1 : at + 3] == ['  backbone: "old"', "  layers: [1, 2]"]


def test_cache_of_the_environment_is_the_default(cache, capsys, monkeypatch):
    monkeypatch.setenv("SK_ARCAL_CACHE", str(cache.folder))
    assert run_cache(capsys).startswith(f"{cache.folder}: 2 namespaces, 7 rows")


def test_cache_that_does_not_exist_is_empty_and_is_not_created(tmp_path, capsys):
    folder = tmp_path / "absent"
    assert run_cache(capsys, "--folder", folder) == f"{folder}: 0 namespaces, 0 rows, 0 B\n"
    assert not folder.exists()


def test_cache_is_shown_with_what_is_damaged_in_it(cache, capsys):
    for table in (cache.folder / "rows").iterdir():
        (table / "settings.json").write_text("{")
        (table / "garbage.shard").write_bytes(b"garbage")
    out = run_cache(capsys, "--folder", cache.folder)
    assert "2 namespaces, 7 rows" in out
    assert out.count("\n  without readable settings.json\n") == 2


def test_cache_is_evicted_to_a_size(cache, capsys):
    out = run_cache(capsys, "--folder", cache.folder, "--evict-to", "20kB").splitlines()
    assert out[0] == "16.3 kB removed."
    assert out[1] == f"{cache.folder}: 2 namespaces, 3 rows, 12.3 kB"
    assert cache.size() < 20_000


def test_cache_is_cleared(cache, capsys):
    out = run_cache(capsys, "--folder", cache.folder, "--clear").splitlines()
    assert out == ["28.7 kB removed.", f"{cache.folder}: 0 namespaces, 0 rows, 0 B"]
    assert cache.size() == 0


def test_networks_for_workers_lie_beside_the_rows_and_are_cleared_with_them(cache, capsys):
    network = cache.folder / "backbones" / "0123"
    network.mkdir(parents=True)
    (network / "weights.safetensors").write_bytes(bytes(3000))
    shown = run_cache(capsys, "--folder", cache.folder).splitlines()
    assert shown[-1] == "networks and tokenizers for workers: 1, 3 kB"
    cleared = run_cache(capsys, "--folder", cache.folder, "--clear").splitlines()
    assert cleared == ["31.7 kB removed.", f"{cache.folder}: 0 namespaces, 0 rows, 0 B"]
    assert not network.exists()


def test_cache_options_that_make_no_sense_are_one_sentence(cache, capsys, tmp_path):
    assert "'much' is no size" in refused(capsys, "cache", "--evict-to", "much")
    (tmp_path / "file").touch()
    assert "file is a file" in refused(capsys, "cache", "--folder", tmp_path / "file")
    with pytest.raises(SystemExit):
        cli.main(["cache", "--clear", "--evict-to", "1GB"])
    assert "not allowed with" in capsys.readouterr().err


def test_cache_command_needs_no_torch(tmp_path):
    code = (
        "import sys; from sk_arcal import cli; cli.main(['cache', '--folder', sys.argv[1]]);"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(Path(sk_arcal.__file__).parents[1])},
    )
    assert done.stdout.endswith("0 B\nFalse\n")


# --- streams -------------------------------------------------------------------------------------


def test_stream_rests_on_a_sample_and_says_so(predictions, capsys, tmp_path, monkeypatch):
    fast = {"n_resamples": 19, "n_shuffles": 1, "cv": 2}
    monkeypatch.setattr(
        "sk_arcal.audit.routing_audit", lambda table, **given: routing_audit(table, **given | fast)
    )
    numbers = tmp_path / "numbers.json"
    options = ["--stream", "--max-rows", "150", "--chunk-rows", "60", "--json", numbers]
    command = ["audit", predictions, "--routing", "load", *options]
    assert cli.main([str(word) for word in command]) == 0
    out, _ = capsys.readouterr()
    assert "predictions.csv: 150 rows, a uniform sample of 400\n" in out
    assert "Verdicts rest on a uniform sample of 150 of 400 rows" in " ".join(out.split())
    found = json.loads(numbers.read_text())
    assert (found["n"], found["stream"]["n_rows"]) == (150, 400)


@pytest.mark.parametrize(
    ("suffix", "limit", "options", "expected"),
    [
        (".csv", 100, [], True),
        (".csv", 10**6, [], False),
        (".csv", 100, ["--no-stream"], False),
        (".csv", 10**6, ["--stream"], True),
        (".csv", 100, ["--join", "table.csv"], False),
        (".npz", 0, [], False),
    ],
)
def test_large_files_are_streamed_unless_told_otherwise(
    suffix, limit, options, expected, monkeypatch, tmp_path
):
    path = tmp_path / f"table{suffix}"
    path.write_text(GOOD * 10)
    seen = []
    monkeypatch.setattr("sk_arcal.audit._streaming._reading._LARGE", limit)
    for name in ("read_stream", "read_predictions"):
        monkeypatch.setattr(
            f"sk_arcal.audit._command_files.{name}", lambda *_, name=name, **__: seen.append(name)
        )
    arguments = cli._parser().parse_args(["audit", str(path), *options])
    cli._read_files(arguments)
    assert seen == ["read_stream" if expected else "read_predictions"]


@pytest.mark.parametrize("option", [["--experts"], ["--layers"], ["--join", "other.csv"]])
def test_stream_refuses_what_needs_the_whole_file(option, capsys, tmp_path):
    path = write(tmp_path, GOOD)
    message = refused(capsys, "audit", path, "--stream", *option)
    assert f"{option[0]} needs the whole file in memory" in message


def test_stream_names_the_line_of_a_bad_cell(capsys, tmp_path):
    text = GOOD + "1,0.7,2\n" * 60 + "0,2.5,1\n"
    path = write(tmp_path, text)
    options = ["--stream", "--max-rows", "30", "--chunk-rows", "20"]
    message = refused(capsys, "audit", path, "--routing", "load", *options)
    assert "table.csv: `confidence` holds 2.5 in line 65" in message


def test_stream_refuses_files_that_are_read_whole(capsys, tmp_path):
    path = tmp_path / "table.npz"
    np.savez(path, correct=[0, 1], confidence=[0.5, 0.6])
    assert "--no-stream" in refused(capsys, "audit", path, "--stream")


def test_file_that_is_no_parquet_is_named(capsys, tmp_path):
    path = write(tmp_path, GOOD, "table.parquet")
    assert "error: table.parquet: " in refused(capsys, "audit", path)
