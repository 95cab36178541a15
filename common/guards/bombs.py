"""Small files that want much memory: aliases in YAML that multiply, archives of zeros, tables of one repeated value.
Each has a stated limit."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from common.console import InputError

YAML_VALUES = 100_000  # of a preset, aliases counted as often as they stand
NPZ_BYTES = 64 * 2**20  # unpacked, of any archive; a larger one may unpack to NPZ_RATIO times its size
NPZ_RATIO = 200  # float logits shrink to nine tenths, ids to a tenth, zeros to a thousandth
TABLE_CELLS = 20_000_000  # of any table; a larger file may have as many cells as it has bytes


def load_yaml(text: str, path: str | Path) -> Any:
    """yaml.safe_load(), without Python objects and with at most YAML_VALUES values. Raises InputError, YAMLError."""
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if count_values(node, {}, path) > YAML_VALUES:
            raise InputError(f"{path}: its aliases multiply to more than {YAML_VALUES:,} values, write them out")
        return loader.construct_document(node)
    finally:
        loader.dispose()


def count_values(node: yaml.Node, counted: dict[int, int | None], path: str | Path) -> int:
    """Values of a YAML node with all below it; counted: of nodes seen before, None while they are looked at."""
    if id(node) in counted:
        if counted[id(node)] is None:
            raise InputError(f"{path}, row {node.start_mark.line + 1}: an alias stands inside of what it names")
        return counted[id(node)]
    counted[id(node)] = None
    children = node.value if isinstance(node, yaml.CollectionNode) else []
    nodes = [part for child in children for part in (child if isinstance(child, tuple) else (child,))]
    counted[id(node)] = 1 + sum(count_values(child, counted, path) for child in nodes)
    return counted[id(node)]


def unpacked_limit(packed: int) -> int:
    """Bytes that `packed` bytes may unpack to."""
    return max(NPZ_BYTES, NPZ_RATIO * packed)


def check_unpacked(path: str | Path, packed: int, unpacked: int) -> None:
    """Raise InputError for bytes that unpack to more than is plausible, as far as they are unpacked."""
    if unpacked > unpacked_limit(packed):
        raise InputError(f"{path}: {packed:,} bytes unpack to {unpacked:,}, more than {NPZ_RATIO} times as much")


def check_cells(path: str | Path, size: int, cells: int) -> None:
    """Raise InputError for a file of `size` bytes that claims more cells than is plausible."""
    if cells > max(TABLE_CELLS, size):
        raise InputError(f"{path}: {size:,} bytes claim {cells:,} cells, more than {TABLE_CELLS:,}")


def check_npz(path: str | Path) -> None:
    """Raise InputError for an npz that unpacks to more than is plausible, or whose arrays claim to be larger than they
    are. Raises OSError, ValueError, BadZipFile for what is no npz."""
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
        packed = sum(entry.compress_size for entry in entries)
        unpacked = sum(entry.file_size for entry in entries)
        check_unpacked(path, packed, unpacked)
        for entry in entries:
            with archive.open(entry) as file:
                version = np.lib.format.read_magic(file)
                header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
                shape, _, dtype = header[version](file)
                size = int(np.prod(shape, dtype=object)) * dtype.itemsize
                if not dtype.hasobject and file.tell() + size != entry.file_size:
                    raise InputError(f"{path}: {entry.filename} claims {size:,} bytes, it has {entry.file_size:,}")
