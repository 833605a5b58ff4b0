"""`--config FILE`: flags of a verb from a file, as if they stood on the command line; those that stand there win."""

from __future__ import annotations

import argparse
import difflib
import json
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from raydm.errors import ParameterError
from raydm.flags.rules import check_given
from raydm.flags.verb import Verb

VERB = "verb"  # the key that may name the verb that a config is for
_FLAG = "--config"
_MOST_BYTES = 2**20
_SCALARS = (str, int, float, bool)
_NOT_GIVEN = ("help", "config", "module")  # no settings


def add_config(parser: argparse.ArgumentParser) -> None:
    """The flag itself, for a verb's parser."""
    parser.add_argument(_FLAG, type=Path, default=argparse.SUPPRESS, metavar="FILE", help="YAML or JSON with flags by "
                        "name, such as `steps: 60`; those on the command line win")  # fmt: skip


def given_flags(parser: argparse.ArgumentParser, words: Sequence[str]) -> dict[str, Any]:
    """What stands on the command line itself, without any default; positional arguments may be missing.

    Args:
        parser: made for this question alone: it is changed.
        words: the command line.
    """
    for each in _leaf(parser, words):
        for action in each._actions:
            action.default = argparse.SUPPRESS
            if not action.option_strings and not isinstance(action, argparse._SubParsersAction):
                action.required, action.nargs = False, "*" if action.nargs == "+" else action.nargs or "?"
                action.choices = None  # which would be asked of the default, too
    return vars(parser.parse_args(words))


def with_config(parser: argparse.ArgumentParser, words: Sequence[str]) -> list[str]:
    """The command line with the flags of its --config put in, if it names one.

    Args:
        parser: made for this question alone: it is changed.
        words: the command line.

    Raises:
        ParameterError: the file cannot be read, or holds what is no flag of the verb.
    """
    if not any(len(word) > len("--c") and _FLAG.startswith(word.split("=")[0]) for word in words):
        return [*words]
    given = given_flags(parser, words)
    if "config" not in given:  # --conf, where it is another flag's
        return [*words]
    *_, leaf = _leaf(parser, words)
    depth = len(leaf.prog.split()) - len(parser.prog.split())
    config = read_config(given["config"])
    return [*words[:depth], *words_of(leaf, config, str(given["config"]), set(given)), *words[depth:]]


def without_config(words: Sequence[str]) -> list[str]:
    """A command line whose --config is in it already, for where that file is not."""
    parser = argparse.ArgumentParser(add_help=False)
    add_config(parser)
    return parser.parse_known_args([*words])[1]


def arguments_of(verb: Verb, config: Mapping[str, Any]) -> Namespace:
    """The arguments of a verb for a config, as `raydm VERB --config FILE` has them.

    Raises:
        ParameterError: something in it is no flag of the verb, no value of it, or has no part.
    """
    parser, strict = _Raising(prog=f"raydm {verb.name}"), _Raising(prog=f"raydm {verb.name}")
    verb.add(parser)
    verb.add(strict)
    words = words_of(parser, config, "the config", set())
    arguments = strict.parse_args(words)
    check_given(arguments, set(given_flags(parser, words)), verb.takes, verb.rules)
    return arguments


def read_config(file: Path) -> dict[str, Any]:
    """A file's flags by name.

    Raises:
        ParameterError: it cannot be read, or is no mapping of names.
    """
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc, name-defined, unused-ignore]
        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):  # which could make a small file a huge one
                raise yaml.YAMLError("aliases are not allowed")
            return super().compose_node(parent, index)

    try:
        if file.stat().st_size > _MOST_BYTES:
            raise ParameterError(f"{file}: is larger than any config ({_MOST_BYTES} bytes). Name another --config.")
        text = file.read_text(encoding="utf-8")
        found = json.loads(text) if file.suffix == ".json" else yaml.load(text, Loader)  # noqa: S506 - a SafeLoader
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        if isinstance(error, ParameterError):
            raise
        said = getattr(error, "strerror", None) or " ".join(str(error).split()) or repr(error)
        raise ParameterError(f"{file}: cannot be read as a config ({said}). YAML or JSON is expected.") from error
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise ParameterError(f"{file}: a config names flags, such as `steps: 60`, one a line.")
    return found


def words_of(parser: argparse.ArgumentParser, config: Mapping[str, Any], file: str, given: set[str]) -> list[str]:
    """A config as words of a command line, positional ones first.

    Args:
        parser: of the verb.
        config: values by a flag's name, as it is written or as it is stored.
        file: names the config in messages.
        given: flags, as they are stored, that stand on the command line; of these nothing is taken.

    Raises:
        ParameterError: an unknown name, one that stands twice, or a value that no flag can have.
    """
    verb = parser.prog.split(maxsplit=1)[-1]
    known = _by_name(parser)
    positional: list[str] = []
    options: list[str] = []
    seen: dict[str, str] = {}
    for key, value in config.items():
        name = key.replace("-", "_")
        if name == VERB and name not in known:
            if value != verb:
                raise ParameterError(f"{file}: is for `raydm {value}`, and not for `raydm {verb}`.")
            continue
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else f" See `raydm {verb} --help`."
            raise ParameterError(f"{file}: the key {key!r} is no flag of `raydm {verb}`.{hint}")
        action = known[name]
        if action.dest in seen:
            raise ParameterError(f"{file}: {seen[action.dest]!r} and {key!r} are the same flag. Leave one out.")
        seen[action.dest] = key
        if action.dest in given or value is None:
            continue
        (options if action.option_strings else positional).extend(_words(action, name, value, f"{file}: {key}"))
    return [*positional, *options]


def _words(action: argparse.Action, name: str, value: Any, where: str) -> list[str]:
    """The words for one flag; raises ParameterError where it cannot have the value."""
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise ParameterError(f"{where}: is true or false. Got {value!r}.")
        negative = name == action.dest and isinstance(action, argparse._StoreFalseAction)  # such as `anneal: false`
        return [action.option_strings[0]] if value != negative else []
    if isinstance(value, Mapping) and isinstance(action, argparse._AppendAction):
        value = [f"{column}={kind}" for column, kind in value.items()]
    many = isinstance(action.nargs, int) or action.nargs in ("+", "*") or isinstance(action, argparse._AppendAction)
    if isinstance(value, list) and many and value:
        texts = [_text(each, where) for each in value]
    else:
        texts = [json.dumps(value) if isinstance(value, Mapping) else _text(value, where)]
    if not action.option_strings:
        return texts
    flag = action.option_strings[0]
    if action.nargs is None:
        return [f"{flag}={text}" for text in texts]
    return [flag, *texts]


def _text(value: Any, where: str) -> str:
    if not isinstance(value, _SCALARS):
        raise ParameterError(f"{where}: expected text or a number. Got {value!r}.")
    return repr(value) if isinstance(value, float) else str(value)  # repr: to the bit


def _by_name(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """The flags by the names that they have: as they are written, with _ for -, and as they are stored."""
    actions = [action for action in parser._actions if action.dest not in _NOT_GIVEN]
    written = {o.lstrip("-").replace("-", "_"): action for action in actions for o in action.option_strings}
    return {action.dest: action for action in actions if action.dest != argparse.SUPPRESS} | written


def _leaf(parser: argparse.ArgumentParser, words: Sequence[str]) -> Iterator[argparse.ArgumentParser]:
    """The parser, that of its verb, and so on."""
    yield parser
    below = next((action for action in parser._actions if isinstance(action, argparse._SubParsersAction)), None)
    if below is not None and words and words[0] in below.choices:
        yield from _leaf(below.choices[words[0]], words[1:])


class _Raising(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ParameterError(message)
