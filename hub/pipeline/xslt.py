"""Stylesheets: found in three layers, compiled once, run without any way to read or write.

A stylesheet is named ``town:<file>`` (the municipality's own folder), ``mapping:<version>/<file>`` (the
service's package) or ``common:<file>`` (shared by all). What it may import::

    href="kopf.xsl"            beside it, inside of its own layer
    href="mapping:mail.xsl"    the mapping's, in the folder of the form version at work
    href="common:mail.xsl"     the common one

Nothing else is found: no path out of the layer, no file:, no http:. XSLT 1.0 runs in libxslt with every
access denied. 2.0 and 3.0 run in Saxon, whose only permitted protocol is ``data:`` (imports are handed over
as such, so the engine never opens a file), with extension functions and xsl:result-document off. Saxon's
settings hold for the whole process.

An endless stylesheet is ended by the worker's limits, not here; memory that runs out leaves as `MemoryError`.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from lxml import etree

from hub.errors import ConfigError, Rejected
from hub.i18n.sentence import lines, say
from hub.message import Reason
from hub.pipeline import stylesheet_faults
from hub.pipeline.mapping_faults import told
from hub.pipeline.places import line_of
from hub.pipeline.stylesheet_faults import Sources

XSL = "{http://www.w3.org/1999/XSL/Transform}"
DENIED: Any = etree.XSLTAccessControl.DENY_ALL  # type: ignore[attr-defined]
_SAXON = "http://saxon.sf.net/feature/"
SAXON_SETTINGS = {f"{_SAXON}allowedProtocols": "data", f"{_SAXON}allow-external-functions": "false"}
_PLAIN = re.compile(r"[A-Za-z0-9_äöüÄÖÜß][A-Za-z0-9_äöüÄÖÜß .-]*")
_NCNAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
_IMPORT = re.compile(r"(?P<before><(?:[\w.-]+:)?(?:import|include)\b[^<>]*?\bhref\s*=\s*)"
                     r"(?P<quote>[\"'])(?P<href>[^\"'<>]*)(?P=quote)")


@dataclass(frozen=True, slots=True)
class Layers:
    """The folders a stylesheet may come from: snapshots, so their paths name their content."""

    package: Path
    version: str
    common: Path | None = None
    municipality: Path | None = None
    homes: tuple[tuple[str, str], ...] = ()
    """The folder that people edit, by layer."""

    def shown(self, name: str) -> str:
        """The path under which people find a stylesheet: ``mappings/hundesteuer/v1/mail.xsl``."""
        layer, _, path = name.partition(":")
        home = dict(self.homes).get(layer)
        return f"{home}/{path}" if home else name

    def resolve(self, href: str, base: str | None = None, line: int = 0) -> str:
        """The name of what `href` means in the stylesheet `base`, where it stands in `line`. Raises
        `ConfigError` for whatever leads elsewhere."""
        layer, _, path = (base or "mapping:").partition(":")
        scheme, colon, rest = href.partition(":")
        if colon and scheme in ("mapping", "common", "town") and (scheme != "town" or base is None):
            layer, path = scheme, posixpath.join(self.version, rest) if scheme == "mapping" else rest
        elif colon:
            raise self.broken(base, f"import of {href[:200]}",
                              "only mapping:, common: and files beside it can be imported", line)
        else:
            path = posixpath.join(posixpath.dirname(path) if base else self.version, href)
        path = posixpath.normpath(path)
        if not all(_PLAIN.fullmatch(step) for step in path.split("/")):
            raise self.broken(base, f"import of {href[:200]}",
                              "the path leaves the package, or has odd characters", line)
        return f"{layer}:{path}"

    def read(self, name: str) -> str:
        """The stylesheet's text, known to be XML without a DOCTYPE. Raises `ConfigError`."""
        file = self._file(name)
        if file is None:
            raise self.broken(name, "is missing, but the route names it (stylesheets)"
                              if name.startswith("town:") else "is missing, but mapping.toml names it",
                              "add the file, or correct the name")
        return _checked_text(self, name, file.read_bytes())

    def has(self, name: str) -> bool:
        """Whether there is such a stylesheet."""
        return self._file(name) is not None

    def _file(self, name: str) -> Path | None:
        layer, _, path = name.partition(":")
        root = {"mapping": self.package, "common": self.common, "town": self.municipality}[layer]
        file = root / path if root else None
        if root is None or file is None or not file.is_file() or not file.resolve().is_relative_to(
            root.resolve()):
            return None
        return file

    def broken(self, name: str | None, problem: str, remedy: str, line: int = 0) -> ConfigError:
        """What is wrong with a stylesheet, where people find it."""
        place = self.shown(name) if name else "stylesheet"
        return ConfigError(f"{place}: line {line}: {problem}: {remedy}" if line
                           else f"{place}: {problem}: {remedy}")


class Stylesheet(Protocol):
    """A compiled stylesheet."""

    def run(self, tree: etree._Element, parameters: Mapping[str, str]) -> bytes:
        """The result, serialised as xsl:output says. Raises `Rejected`."""


@lru_cache(maxsize=256)
def compiled(layers: Layers, href: str, encoding: str | None = None) -> Stylesheet:
    """The stylesheet that `href` names, ready to run and kept. `encoding` overrules xsl:output.

    Raises `Rejected` with ``mapping``, file and line when it cannot be compiled.
    """
    try:
        return _compiled(layers, layers.resolve(href), encoding)
    except ConfigError as error:
        problems = told(error.problems, {})
        raise Rejected(Reason.MAPPING, say("Das Stylesheet ist nicht brauchbar: {problems}",
                                           problems=lines(problems)), problems) from error


def _compiled(layers: Layers, name: str, encoding: str | None) -> Stylesheet:
    root = etree.fromstring(layers.read(name).encode(), _parser())
    version = root.get("version") or root.get(f"{XSL}version") or ""
    engine = _Libxslt if version == "1.0" else _Saxon if version in ("2.0", "3.0") else None
    if engine is None:
        raise layers.broken(name, f"version is {version!r}", 'write version="1.0", "2.0" or "3.0"')
    mode = root.get("default-mode")
    extra = f" default-mode={quoteattr(mode)}" if mode else ""
    output = f"<xsl:output encoding={quoteattr(encoding)}/>" if encoding else ""
    shell = (f'<xsl:stylesheet xmlns:xsl="{XSL[1:-1]}" version="{version}"{extra}>'
             f'<xsl:import href={{}}/>{output}</xsl:stylesheet>')
    return engine(layers, name, shell)


class _Libxslt:
    """XSLT 1.0."""

    def __init__(self, layers: Layers, name: str, shell: str) -> None:
        self._sources = _sources(layers, name)  # every import checked first, for its clear words
        parser = _parser()
        parser.resolvers.add(_Resolver(layers))
        try:
            tree = etree.fromstring(shell.format(quoteattr(name)), parser)
            self._transform = etree.XSLT(tree, access_control=DENIED)
        except etree.XSLTParseError as error:
            raise ConfigError(stylesheet_faults.broken_1(error, self._sources)) from error

    def run(self, tree: etree._Element, parameters: Mapping[str, str]) -> bytes:
        given: dict[str, Any] = {key: etree.XSLT.strparam(value)
                                 for key, value in _usable(parameters).items()}
        try:
            return bytes(self._transform(tree, **given))
        except etree.XSLTApplyError as error:
            raise stylesheet_faults.failed_1(error, self._sources) from error
        except ConfigError as error:  # the resolver was asked while running, by a name made of values
            raise stylesheet_faults.no_document(self._sources) from error
        except MemoryError:
            raise
        except Exception as error:  # an extension of lxml's own, like re of a broken pattern
            raise stylesheet_faults.failed_otherwise(self._sources) from error


class _Resolver(etree.Resolver):
    """Answers only for names of the layers; libxslt itself asks for nothing else, because hrefs are
    rewritten."""

    def __init__(self, layers: Layers) -> None:
        self.layers = layers

    def resolve(self, system_url: str, _public_id: str,  # type: ignore[override]
                context: Any) -> Any:
        if system_url.partition(":")[0] not in ("town", "mapping", "common"):
            raise self.layers.broken(system_url, "is not part of the package",
                                     "import it by mapping: or common:")
        imports = _imports(self.layers, system_url)
        text = _rewritten(self.layers.read(system_url), imports)
        return self.resolve_string(text.encode(), context, base_url=system_url)


class _Saxon:
    """XSLT 2.0 and 3.0."""

    def __init__(self, layers: Layers, name: str, shell: str) -> None:
        processor = _processor()
        self._names: list[str] = []
        self._sources = _sources(layers, name)
        text = shell.format(quoteattr(self._inline(layers, name)))
        try:
            compiler = processor.new_xslt30_processor()
            self._executable = compiler.compile_stylesheet(stylesheet_text=text, encoding="utf-8")
        except _saxon_error() as error:
            raise ConfigError(stylesheet_faults.broken_2(str(error), self._sources, self._names)) from error
        override = re.search(r'<xsl:output encoding="([^"]+)"', shell)
        self._encoding = override[1] if override else output_of(layers, name, "encoding") or "utf-8"
        self._executable.set_property("!encoding", "UTF-8")  # its text reaches Python as UTF-8 only

    def run(self, tree: etree._Element, parameters: Mapping[str, str]) -> bytes:
        try:
            return self._encoded(self._transformed(tree, parameters))
        except _saxon_error() as error:
            raise self._failed(tree, parameters) from error
        except LookupError as error:
            raise stylesheet_faults.no_encoding(self._sources) from error

    def _transformed(self, tree: etree._Element, parameters: Mapping[str, str]) -> str:
        processor, executable = _processor(), self._executable
        executable.clear_parameters()
        executable.clear_xsl_messages()
        executable.set_save_xsl_message(True)
        for key, value in _usable(parameters).items():
            executable.set_parameter(key, processor.make_string_value(value))
        node = processor.parse_xml(xml_text=etree.tostring(tree, encoding="unicode"))
        return str(executable.transform_to_string(xdm_node=node) or "")

    def _encoded(self, text: str) -> bytes:
        if self._encoding.lower() == "utf-8":
            return text.encode()
        declared = re.sub(r'(<\?xml version="1\.[01]" encoding="|; charset=)UTF-8', rf"\g<1>{self._encoding}",
                          text, count=1)
        return declared.encode(self._encoding, "xmlcharrefreplace")

    def _inline(self, layers: Layers, name: str) -> str:
        """The stylesheet as a ``data:`` URL with its imports inside it in the same way."""
        text = layers.read(name)
        urls = {href: self._inline(layers, target) for href, target in _imports(layers, name).items()}
        body = _without_declaration(_rewritten(text, urls))
        self._names.append(name)
        return f"data:application/xml;charset=utf-8;n={len(self._names) - 1},{quote(body, safe='')}"

    def _failed(self, tree: etree._Element, parameters: Mapping[str, str]) -> Rejected:
        """Why it failed. Saxon tells code and line on the standard error only, so it is run once more."""
        with stylesheet_faults.standard_error() as said, suppress(_saxon_error()):
            self._transformed(tree, parameters)
        messages = self._executable.get_xsl_messages()
        last = str(messages.item_at(messages.size - 1)) if messages is not None and messages.size else ""
        return stylesheet_faults.failed_2("".join(said), last, self._sources, self._names)


@cache
def _processor() -> Any:
    """The one processor of this process: more than one aborts it, and its settings can only be closed
    once."""
    import saxonche

    processor = saxonche.PySaxonProcessor(license=False)
    for key, value in SAXON_SETTINGS.items():
        processor.set_configuration_property(key, value)
    return processor


def _saxon_error() -> type[Exception]:
    import saxonche

    error: type[Exception] = saxonche.PySaxonApiError
    return error


def _parser() -> etree.XMLParser:
    return etree.XMLParser(no_network=True, resolve_entities=False, load_dtd=False)


def _checked_text(layers: Layers, name: str, raw: bytes) -> str:
    try:
        root = etree.fromstring(raw, _parser())
    except etree.XMLSyntaxError as error:
        raise layers.broken(name, "is no XML", "mend that line", error.lineno or 0) from error
    info: Any = root.getroottree().docinfo
    if info.doctype:
        raise layers.broken(name, "has a DOCTYPE", "remove it")
    for banned in ("use-package", "import-schema"):
        for element in root.iter(f"{XSL}{banned}"):
            raise layers.broken(name, f"xsl:{banned}", "import stylesheets instead", line_of(element))
    return _without_declaration(raw.decode(info.encoding or "utf-8").removeprefix("\ufeff"))


def _without_declaration(text: str) -> str:
    """Without ``<?xml …?>``, whose encoding is not true of a str; its line breaks stay, so that line numbers
    do."""
    return re.sub(r"^<\?xml\s[^>]*\?>", lambda match: "" if "\n" not in match[0] else match[0][-2:], text,
                  count=1)


def _imports(layers: Layers, name: str) -> dict[str, str]:
    """href as written, to the name of the stylesheet it means. Raises `ConfigError` for a missing one."""
    root = etree.fromstring(layers.read(name).encode(), _parser())
    found = {}
    for element in root.iter(f"{XSL}import", f"{XSL}include"):
        href = element.get("href", "")
        found[href] = target = layers.resolve(href, name, line_of(element))
        if not layers.has(target):
            raise layers.broken(name, f"imports {layers.shown(target)}, which is missing",
                                "add the file, or correct the import", line_of(element))
    return found


def _sources(layers: Layers, name: str) -> Sources:
    texts = modules_of(layers, name)
    return Sources(texts, {each: layers.shown(each) for each in texts})


def modules_of(layers: Layers, name: str, above: Sequence[str] = ()) -> dict[str, str]:
    """The texts of a stylesheet and of all that it imports, itself first. Raises `ConfigError` for a missing
    one and for a circle."""
    if name in above:
        raise layers.broken(above[-1], f"imports {layers.shown(name)} in a circle", "import it once")
    texts = {name: layers.read(name)}
    for target in _imports(layers, name).values():
        texts |= modules_of(layers, target, (*above, name))
    return texts


def _rewritten(text: str, hrefs: Mapping[str, str]) -> str:
    """The text with other hrefs in xsl:import and xsl:include, line by line the same."""
    def replace(match: re.Match[str]) -> str:
        target = hrefs.get(match["href"])
        return match[0] if target is None else f"{match['before']}{quoteattr(target)}"

    return _IMPORT.sub(replace, text)


def output_of(layers: Layers, name: str, key: str) -> str | None:
    """What xsl:output says of `key` (``method``, ``encoding`` …): the importing stylesheet wins, the last
    declaration in it. None: nothing. `modules_of` was asked before: it finds circles. Raises
    `ConfigError`."""
    root = etree.fromstring(layers.read(name).encode(), _parser())
    for output in reversed(root.findall(f"{XSL}output")):
        if output.get(key) and output.get("name") is None:
            return output.get(key)
    inherited = (output_of(layers, target, key) for target in reversed(_imports(layers, name).values()))
    return next((said for said in inherited if said), None)


def _usable(parameters: Mapping[str, str]) -> dict[str, str]:
    return {key: value for key, value in parameters.items() if _is_name(key)}


@lru_cache(maxsize=4096)
def _is_name(key: str) -> bool:
    return _NCNAME.fullmatch(key) is not None
