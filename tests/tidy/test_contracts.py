"""Contracts: every element is commented, every method is in a scope table, nothing drifts."""

import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf import descriptor_pb2

from tests.tidy.source import BIN, ROOT, SERVICES, run

# The services that take a sandbox program through time: those with state of their own.
WITHOUT_CLOCK = {"gateway"}
# Methods of other services that the gateway serves itself, over all services.
COMPOSED = {"/loyalty.ledger.v1.ProgramService/AdvanceClock"}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[descriptor_pb2.FileDescriptorProto]:
    """Our proto files, with their comments."""
    path = tmp_path_factory.mktemp("image") / "image.binpb"
    built = run(BIN / "buf", "build", "--as-file-descriptor-set", "-o", path)
    assert built.returncode == 0, built.stdout
    image = descriptor_pb2.FileDescriptorSet.FromString(path.read_bytes())
    return [file for file in image.file if file.package.startswith("loyalty.")]


def uncommented(file: descriptor_pb2.FileDescriptorProto) -> list[str]:
    """The elements of a file that have no comment before them."""
    commented = {
        tuple(location.path)
        for location in file.source_code_info.location
        if location.leading_comments.strip()
    }
    return [name for path, name in elements(file) if path not in commented]


def elements(file: descriptor_pb2.FileDescriptorProto) -> Iterator[tuple[tuple[int, ...], str]]:
    """Every element of a file: its path in the descriptor, and its name."""
    for i, message in enumerate(file.message_type):
        yield from _message((4, i), message)
    for i, enum in enumerate(file.enum_type):
        yield from _enum((5, i), enum, "")
    for i, service in enumerate(file.service):
        yield (6, i), service.name
        for j, method in enumerate(service.method):
            yield (6, i, 2, j), f"{service.name}.{method.name}"


def _message(
    path: tuple[int, ...], message: descriptor_pb2.DescriptorProto, outer: str = ""
) -> Iterator[tuple[tuple[int, ...], str]]:
    name = f"{outer}{message.name}"
    if message.options.map_entry:
        return
    yield path, name
    for i, field in enumerate(message.field):
        yield (*path, 2, i), f"{name}.{field.name}"
    for i, inner in enumerate(message.nested_type):
        yield from _message((*path, 3, i), inner, f"{name}.")
    for i, enum in enumerate(message.enum_type):
        yield from _enum((*path, 4, i), enum, f"{name}.")
    optional = {field.oneof_index for field in message.field if field.proto3_optional}
    for i, oneof in enumerate(message.oneof_decl):
        if i not in optional:
            yield (*path, 8, i), f"{name}.{oneof.name}"


def _enum(
    path: tuple[int, ...], enum: descriptor_pb2.EnumDescriptorProto, outer: str
) -> Iterator[tuple[tuple[int, ...], str]]:
    yield path, f"{outer}{enum.name}"
    for i, value in enumerate(enum.value):
        yield (*path, 2, i), f"{outer}{enum.name}.{value.name}"


def test_every_element_is_commented(files: list[descriptor_pb2.FileDescriptorProto]) -> None:
    bare = {file.name: missing for file in files if (missing := uncommented(file))}

    assert len(files) >= 8
    assert bare == {}


def test_a_planted_element_without_a_comment_is_found(
    files: list[descriptor_pb2.FileDescriptorProto],
) -> None:
    planted = descriptor_pb2.FileDescriptorProto()
    planted.CopyFrom(files[0])
    planted.message_type.add(name="Bare").field.add(name="field")

    assert uncommented(planted) == ["Bare", "Bare.field"]


def test_a_field_says_first_how_it_behaves(
    files: list[descriptor_pb2.FileDescriptorProto],
) -> None:
    behaviours = ("Required.", "Optional.", "Output only.", "Immutable.")
    silent = []
    for file in files:
        comments = {
            tuple(one.path): one.leading_comments.strip() for one in file.source_code_info.location
        }
        oneofs = {
            (*path, 2, i)
            for path, message in _messages(file)
            for i, field in enumerate(message.field)
            if field.HasField("oneof_index") and not field.proto3_optional
        }
        silent += [
            name
            for path, name in elements(file)
            if path[0] == 4
            and path[-2] == 2
            and not _is_enum_value(path)
            and path not in oneofs
            and "Money." not in name
            and not comments.get(path, "").startswith(behaviours)
        ]

    assert silent == []


def _is_enum_value(path: tuple[int, ...]) -> bool:
    return len(path) >= 4 and path[-4] == 4 and len(path) > 4


def _messages(
    file: descriptor_pb2.FileDescriptorProto,
) -> Iterator[tuple[tuple[int, ...], descriptor_pb2.DescriptorProto]]:
    def below(
        path: tuple[int, ...], message: descriptor_pb2.DescriptorProto
    ) -> Iterator[tuple[tuple[int, ...], descriptor_pb2.DescriptorProto]]:
        yield path, message
        for i, inner in enumerate(message.nested_type):
            yield from below((*path, 3, i), inner)

    for i, message in enumerate(file.message_type):
        yield from below((4, i), message)


def methods(files: list[descriptor_pb2.FileDescriptorProto], package: str) -> set[str]:
    """Full names of the methods of a package."""
    return {
        f"/{file.package}.{service.name}/{method.name}"
        for file in files
        if file.package == package
        for service in file.service
        for method in service.method
    }


@pytest.mark.parametrize("service", SERVICES)
def test_every_method_is_in_its_services_scope_table(
    files: list[descriptor_pb2.FileDescriptorProto], service: str
) -> None:
    expected = methods(files, f"loyalty.{service}.v1")
    if service not in WITHOUT_CLOCK:
        expected |= methods(files, "loyalty.common.v1")
    else:
        expected |= COMPOSED
    table = importlib.import_module(f"services.{service}.rpc.scopes").SCOPES

    assert set(table) == expected


def test_generated_code_is_what_the_protos_say(tmp_path: Path) -> None:
    descriptors = "services/gateway/http/descriptors.binpb"
    made = run(
        "make", "-o", ".venv/.installed", "generate", f"OUT={tmp_path}/libs",
        f"DESCRIPTORS={tmp_path}/{descriptors}", f"BIN={BIN}",
    )  # fmt: skip
    assert made.returncode == 0, made.stdout
    fresh = {path.relative_to(tmp_path): path.read_bytes() for path in generated(tmp_path / "libs")}
    here = {path.relative_to(ROOT): path.read_bytes() for path in generated(ROOT / "libs")}

    assert sorted(fresh) == sorted(here)
    assert [str(name) for name in fresh if fresh[name] != here[name]] == []
    assert (tmp_path / descriptors).read_bytes() == (ROOT / descriptors).read_bytes()


def generated(folder: Path) -> list[Path]:
    """The generated files below a folder."""
    return [path for path in folder.rglob("*_pb2*") if path.suffix in {".py", ".pyi"}]


def test_every_folder_of_stubs_is_a_package() -> None:
    folders = {path.parent for path in generated(ROOT / "libs/loyalty")}
    folders |= {folder.parent for folder in folders}

    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []
