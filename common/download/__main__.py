"""Get the data of a competition into <task>/data/, where its train.py looks for it.

python -m common.download nsmc                          # what needs no login; and how to get the rest
python -m common.download klue_re --data_dir FOLDER     # somewhere else
python -m common.download --list                        # addresses, licences, hashes; reaches for nothing

What is there already is checked and not downloaded again. SOURCES.md, beside the data, has licences and citations;
download.json has the SHA-256 of each file.
"""

from pathlib import Path  # PYTHON_ARGCOMPLETE_OK

from common.console import ArgumentParser, InputError, print_once, run_main
from common.download.catalogue import SOURCES, Download, Source
from common.download.unpack import SUFFIXES, unpack
from common.files import atomic_write, read_json, sha256, write_json
from common.guards.lock import Busy, Lock
from common.options.checks import check_folder
from common.tables.nearest import nearest

RECORD = "download.json"
AGAIN = "what has come is kept, the same command goes on from there"


def main() -> None:
    parser = ArgumentParser("python -m common.download", __doc__)
    parser.add_argument("task", nargs="?", help=f"{', '.join(SOURCES)}, or the path of such a folder")
    parser.add_argument("--data_dir", type=Path, help="where the files go (default: <task>/data)")
    parser.add_argument("--list", action="store_true", help="say what there is, and download nothing")
    args = parser.parse_args()
    if args.task is None and not args.list:
        raise InputError(f"command line: name a task ({', '.join(SOURCES)}), or --list")
    name = None if args.task is None else Path(args.task).resolve().name
    if name is not None and name not in SOURCES:
        known = f"not one of {', '.join(SOURCES)}{nearest(name, list(SOURCES))}"
        raise InputError(f"command line: {args.task} is {known}")
    if args.list:
        print_once("\n\n".join(describe(source) for task in ([name] if name else SOURCES) for source in SOURCES[task]))
        return
    if args.data_dir is None and not Path(args.task, "data.py").is_file():
        raise InputError(f"{args.task}: no such task folder here; start where it lies, or name a --data_dir")
    folder = args.data_dir or Path(args.task, "data")
    check_folder(folder, "data_dir")
    download(args.task, SOURCES[name], folder)


def describe(source: Source) -> str:
    """Title, page, licence and citation, and for each file its address and hash."""
    lines = [source.title, f"  page: {source.page}", f"  licence: {source.licence}", f"  cite: {source.citation}"]
    for file in source.downloads:
        lines.append(f"  {file.name}: {file.url} (SHA-256 {file.sha256 or 'not published'})")
    if source.accept:
        lines.append(f"  {', '.join(source.packed or source.names)}: needs a login; {source.accept}")
    return "\n".join(lines)


def download(task: str, sources: tuple[Source, ...], folder: Path) -> None:
    """Get what each source has and say what is left to do. Raises InputError where there is nothing to train on."""
    folder.mkdir(parents=True, exist_ok=True)  # stays where nothing comes: a person may have to put something there
    try:
        Lock(folder)
    except Busy as error:
        raise InputError(f"{folder}: another download writes there ({error})") from error
    for source in sources:
        print_once(f"{source.title}\n  licence: {source.licence}\n  cite: {source.citation}")
        for file in source.downloads:
            get(file, folder)
        if not source.downloads:
            get_by_hand(source, folder)
    found = [s for s in sources if "train_file" in s.files and (folder / s.files["train_file"]).exists()]
    if not found:
        raise InputError(f"{folder}: nothing to train on yet; do what stands above, then start the same command again")
    write_sources(sources, folder)
    if folder == Path(task, "data"):
        print_once(f"train.py finds it: accelerate launch {task}/train.py")
    else:
        files = " ".join(f"--{option} {folder / name}" for option, name in found[0].files.items())
        print_once(f"train.py does not look there by itself, give it {files}")


def write_sources(sources: tuple[Source, ...], folder: Path) -> None:
    """SOURCES.md: licence and citation of each source that is there; of those that stand for each other, the first."""
    there: dict[str, Source] = {}
    for source in sources:
        if source.is_there(folder):
            there.setdefault(source.names[0], source)
    with atomic_write(folder / "SOURCES.md") as file:
        file.write("# Where the data in this folder comes from\n")
        for source in there.values():
            lines = [f"from: {source.page}", f"licence: {source.licence}", f"citation: {source.citation}"]
            file.write(f"\n## {source.title}\n\n" + "".join(f"* {line}\n" for line in lines))


def get(file: Download, folder: Path) -> None:
    """Download a file, or check it where it is there, against the hash that is known or that of the first download.

    Raises InputError where a file of this name has other bytes; it stays.
    """
    from common.download.fetch import fetch  # requests only where something is to be had

    path = folder / file.name
    record = read_json(folder / RECORD) if (folder / RECORD).exists() else {}
    entry = record.get(file.name)
    kept = entry.get("sha256") if isinstance(entry, dict) else None
    known = file.sha256 or (str(kept) if kept else None)
    if path.is_dir():
        raise InputError(f"{path}: is a folder, the file would have this name")
    if path.exists():
        print_once(f"  {file.name}: is there, {check(path, known)}")
        return
    expected = f", as {RECORD} knows it (delete that to take another version)" if known and not file.sha256 else ""
    print_once(f"  {file.name}: from {file.url}{expected}")
    fetch(file.url, path, known)
    found = sha256(path)
    record[file.name] = {"url": file.url, "bytes": path.stat().st_size, "sha256": found}
    write_json(folder / RECORD, record)
    said = "is the published one" if file.sha256 else f"{found}, which nobody has published, is kept in {RECORD}"
    print_once(f"  {file.name}: {path.stat().st_size:,} bytes, its SHA-256 {said}")


def check(path: Path, known: str | None) -> str:
    """What is to be said of a file that is there. Raises InputError where its SHA-256 is not the known one."""
    if known is None:
        return "but not from this command: left as it is, because nobody has published its SHA-256"
    if (found := sha256(path)) != known:
        raise InputError(f"{path}: has SHA-256 {found}, expected {known}; move it away to download it again")
    return "its SHA-256 is right"


def get_by_hand(source: Source, folder: Path) -> None:
    """Unpack what the user has put there, or Kaggle gives, and say what to do where that is not all."""
    if collect(source, folder):
        print_once(f"  {source.names[0]}: is there")
        return
    why = ""
    if source.competition:
        from common.download.kaggle_files import fetch

        problem = fetch(source.competition, source.kaggle_files, folder)
        if problem is None and collect(source, folder):
            print_once(f"  {source.names[0]}: is there, by the kaggle package")
            return
        why = f" ({problem or 'the kaggle package brought something else'})"
    names = " or ".join(source.packed) if source.packed else ", ".join(source.names)
    put = source.put or f"put {names}, or the archive that has them, into {{folder}}"
    print_once(f"  needs a login{why}: {source.page} asks for {source.accept}; then {put.format(folder=folder)}")


def collect(source: Source, folder: Path) -> bool:
    """Whether the source's first file is there, once the archives in the folder are unpacked."""
    if source.prepare and (folder / source.names[0]).exists():
        return True
    wanted = source.packed or source.names
    for archive in sorted(p for p in folder.iterdir() if p.name.lower().endswith(SUFFIXES) and p.is_file()):
        while missing := [name for name in wanted if not (folder / name).exists()]:
            moved = unpack(archive, missing, folder)
            if not moved:
                break
            print_once(f"  {archive.name}: {', '.join(moved)} taken out of it")
    if source.prepare and any((folder / name).exists() for name in source.packed):
        source.prepare(folder)
    return (folder / source.names[0]).exists()


if __name__ == "__main__":
    run_main(main, again=AGAIN)
