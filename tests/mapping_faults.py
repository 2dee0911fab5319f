"""Every kind of fault that a mapping's author can make, once each: what stands in the file, and what is said.

`plant` puts one into a copy of the example configuration: into a mapping as it is shipped, or into a
municipality's own stylesheet. Kinds of `TABLES` are about the other files of a mapping.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Owner = Literal["shipped", "own"]
OWN = "14999020"
"""The example municipality with a stylesheet of its own for `SERVICE`."""
SERVICE, TENANT = "hundesteuer", "beispielberg"

HEAD = ('xmlns:xsl="http://www.w3.org/1999/XSL/Transform" xmlns:e="urn:datendrehscheibe:envelope:1" '
        'xmlns:t="urn:t" xmlns:exsl="http://exslt.org/common"')


@dataclass(frozen=True)
class Kind:
    """A stylesheet with one fault. `top` stands beside its template, `body` within, `words` are told."""

    name: str
    words: str
    body: str = "<a/>"
    top: str = ""
    version: str = "1.0"
    rendering: str = "xml"
    whole: str | None = None
    more: str = ""

    def text(self, file: str) -> str:
        """The stylesheet, to be written to a file of that name."""
        if self.whole is not None:
            return self.whole
        return (f'<xsl:stylesheet version="{self.version}" {HEAD}{self.more}>\n'
                f"{self.top.replace('{file}', file)}\n"
                f'<xsl:template match="/">\n{self.body}\n</xsl:template></xsl:stylesheet>')


def _value(select: str) -> str:
    return f'<a><xsl:value-of select="{select}"/></a>'


def _import(href: str) -> str:
    return f'<xsl:import href="{href}"/>'


DOCUMENTS = [
    Kind("document of itself, 1.0", "reads a document", _value("document('')//t:w")),
    Kind("document of the net", "reads a document", _value("document('http://example.org/a.xml')")),
    Kind("document by a variable", "reads a document", _value("document(concat('file:', //ort))")),
    Kind("doc of a file, 2.0", "reads a document", _value("doc('file:///etc/passwd')"), version="2.0"),
    Kind("a text of a file, 3.0", "reads a document", _value("unparsed-text('/etc/passwd')"), version="3.0"),
    Kind("it writes, 3.0", "reads or writes", '<xsl:result-document href="x"><a/></xsl:result-document>',
         version="3.0"),
    Kind("it writes, EXSLT", "reads or writes", '<exsl:document href="x"><a/></exsl:document>',
         more=' extension-element-prefixes="exsl"'),
]
IMPORTS = [
    Kind("a missing import", "which is missing", top=_import("nichtda.xsl")),
    Kind("a missing common import", "which is missing", top=_import("common:nichtda.xsl")),
    Kind("an import of itself", "in a circle", top=_import("{file}")),
    Kind("an import from outside", "leaves the package", top=_import("../../../../etc/passwd.xsl")),
    Kind("an import from the net", "can be imported", top=_import("http://example.org/a.xsl")),
    Kind("an import of a file", "can be imported", top=_import("file:///etc/a.xsl")),
    Kind("an include from the net", "can be imported", top='<xsl:include href="https://example.org/a.xsl"/>'),
]
NAMES = [
    Kind("an unknown element", "xsl:valueof does not exist", '<xsl:valueof select="1"/>'),
    Kind("an unknown element, 3.0", "XTSE0010", '<xsl:valueof select="1"/>', version="3.0"),
    Kind("an unknown element at the top", "xsl:templat does not exist", top='<xsl:templat match="x"/>'),
    Kind("an unknown attribute", "has no attribute mod", top='<xsl:template match="hunde" mod="y"/>'),
    Kind("a prefix without namespace", "prefix q has no namespace", _value("q:x")),
    Kind("a prefix without namespace, 2.0", "XPST0081", _value("q:x"), version="2.0"),
    Kind("a prefix in braces", "prefix q has no namespace", '<a b="{q:x}"/>'),
    Kind("an unknown function", "no function upper-case()", _value("upper-case('x')")),
    Kind("an unknown function of EXSLT", "no function exsl:nodeset()", _value("exsl:nodeset(/)")),
    Kind("an unknown variable", r"\$gibtsnicht is not declared", _value("$gibtsnicht")),
    Kind("a variable of another place", r"\$dort is not declared", _value("$dort"),
         '<xsl:template match="hunde"><xsl:variable name="dort" select="1"/></xsl:template>'),
    Kind("an unknown template", "no template gibtsnicht", '<xsl:call-template name="gibtsnicht"/>'),
    Kind("an unknown key", "no xsl:key gibtsnicht", _value("key('gibtsnicht', 1)")),
    Kind("a misspelt expression", "could not|misspelt|falsch geschrieben",
         '<a><xsl:if test="((1">x</xsl:if></a>'),
]
FIELDS = [
    Kind("a field that the form does not have", "gibtsnicht is no field of the form",
         _value("/e:envelope/e:fields/halter/instance/gibtsnicht")),
    Kind("a field in a match", "gibtsnicht is no field", top='<xsl:template match="instance/gibtsnicht"/>'),
    Kind("a field in braces", "gibtsnicht is no field", '<a b="{//gibtsnicht}"/>'),
    Kind("a field in a text, 3.0", "gibtsnicht is no field", "<a>{//gibtsnicht}</a>", version="3.0",
         more=' expand-text="yes"'),
    Kind("a field of another group", "is no field of hunde",
         _value("/e:envelope/e:fields/hunde/instance/familienname")),
    Kind("a field of another group, by its template", "is no field of hunde",
         top='<xsl:template match="hunde/instance"><xsl:value-of select="familienname/@e:text"/>'
             "</xsl:template>"),
    Kind("a group that the form does not have", "katzen is no field", _value("//katzen/instance")),
]
OUTPUTS = [
    Kind("XML as text", "method is text, and xml", top='<xsl:output method="text"/>'),
    Kind("XML as HTML", "method is html, and xml", top='<xsl:output method="html"/>'),
    Kind("XML past the serialiser", "disable-output-escaping",
         '<a><xsl:value-of select="//ort" disable-output-escaping="yes"/></a>'),
    Kind("XML by a map of characters", "xsl:output-character",
         top='<xsl:output use-character-maps="m"/><xsl:character-map name="m"><xsl:output-character '
             'character="|" string="&lt;br&gt;"/></xsl:character-map>', version="2.0"),
    Kind("an unknown encoding", "encoding ISO-8859-99 is unknown",
         top='<xsl:output encoding="ISO-8859-99"/>'),
    Kind("an unknown encoding, 3.0", "encoding ISO-8859-99 is unknown",
         top='<xsl:output encoding="ISO-8859-99"/>', version="3.0"),
    Kind("an encoding that nobody is told", "without an XML declaration",
         top='<xsl:output encoding="ISO-8859-1" omit-xml-declaration="yes"/>'),
    Kind("HTML in Latin-1", "encoding is ISO-8859-1, and html is UTF-8", rendering="mail-html",
         top='<xsl:output method="html" encoding="ISO-8859-1"/>'),
    Kind("HTML that says Latin-1 of itself", "meta says iso-8859-1", rendering="mail-html",
         body='<html><head><meta http-equiv="Content-Type" content="text/html; charset=iso-8859-1"/></head>'
              "<body/></html>"),
    Kind("text in Latin-1", "encoding is ISO-8859-1, and text is UTF-8", rendering="mail-text",
         top='<xsl:output method="text" encoding="ISO-8859-1"/>'),
    Kind("text as XML", "method is missing, and text", rendering="mail-text"),
]
FILES = [
    Kind("an empty file", "is no whole XML", whole=""),
    Kind("half a file", "is no whole XML",
         whole="<xsl:stylesheet version='1.0' xmlns:xsl='http://www.w3.org/1999"),
    Kind("a DOCTYPE", "has a DOCTYPE",
         whole=f'<!DOCTYPE x [<!ENTITY a "b">]><xsl:stylesheet version="1.0" {HEAD}/>'),
    Kind("an unknown version", "(version is|Fassung ist) '1.5'", version="1.5"),
    Kind("no stylesheet", "(version is|Fassung ist) ''", whole="<a/>"),
]
KINDS = [*NAMES, *IMPORTS, *DOCUMENTS, *FIELDS, *OUTPUTS, *FILES]


@dataclass(frozen=True)
class Table:
    """A fault in another file of the mapping: `old` becomes `new`."""

    name: str
    words: str
    file: str
    old: str
    new: str


TABLES = [
    Table("a renamed field", "is no field of the form|is no field of hunde", "v2/fields.toml",
          'id = "rasseCode"', 'id = "rassencode"'),
    Table("a schema without the field", "the schema has no such field", "v2/fields.xsd",
          '<xs:element name="chipnummer"', '<xs:element name="chip"'),
    Table("a schema without the group", "the schema has no such group", "v2/fields.xsd",
          '<xs:element name="zahlung"', '<xs:element name="bezahlung"'),
    Table("a schema of one instance", "takes one instance only", "v2/fields.xsd",
          'type="e:gruppe.hunde" minOccurs="0" maxOccurs="unbounded"', 'type="e:gruppe.hunde" minOccurs="0"'),
    Table("a schema without a code", "does not take the code", "v2/fields.xsd",
          '<xs:enumeration value="abmeldung"/>', ""),
    Table("a schema of another type", "the schema takes no date", "v2/fields.toml",
          'id = "chipnummer"', 'id = "chipnummer", type = "date"'),
    Table("a field of the schema alone", "wurfzeit is no field of fields.toml", "v2/fields.xsd",
          '<xs:element name="art"', '<xs:element name="wurfzeit" type="xs:string" minOccurs="0"/>'
          '<xs:element name="art"'),
    Table("a broken schema", "the schema cannot be used", "v2/fields.xsd", "xs:element", "xs:elemnt"),
    Table("a rule about a field that is not there", "is no field", "v2/rules.sch",
          "hunde/instance", "hunde/instance[gibtsnicht]"),
    Table("a misspelt rule", "misspelt", "v2/rules.sch", 'test="', 'test="(('),
    Table("two versions for a form", "takes a form that version v1 takes too", "mapping.toml",
          'versions = ">=2.0,<3.0"', 'versions = ">=1.5,<3.0"'),
    Table("a version for no form", "no form lies in", "mapping.toml", ">=2.0,<3.0", ">=3.0,<2.0"),
    Table("a version for no day", "is not after valid_from", "mapping.toml",
          "valid_from = 2025-01-01", "valid_from = 2025-01-01\nvalid_until = 2025-01-01"),
    Table("two versions of a name", "the name stands twice", "mapping.toml", 'name = "v2"', 'name = "v1"'),
    Table("HTML in another encoding", "html is UTF-8 and nothing else", "mapping.toml",
          'file = "antrag.html"', 'file = "antrag.html"\nencoding = "ISO-8859-1"'),
    Table("HTML of another media type", "its charset is not utf-8", "mapping.toml",
          'media_type = "text/html"', 'media_type = "text/html; charset=ISO-8859-1"'),
    Table("an encoding that there is not", "is unknown", "mapping.toml",
          'file = "hundesteuer.xml"', 'file = "hundesteuer.xml"\nencoding = "UTF-99"'),
]


def plant(place: Path, kind: Kind, owner: Owner) -> Path:
    """Put the stylesheet into a configuration below `place` (``etc/``, ``mappings/``); the file."""
    if owner == "own":
        folder = place / "etc/municipalities" / OWN / SERVICE
        toml = place / "etc/municipalities" / f"{OWN}.toml"
        old = rf'(service = "{SERVICE}"\nstylesheets = )\{{[^}}]*\}}'
        new = rf'\g<1>{{ {kind.rendering} = "{SERVICE}/probe.xsl" }}'
    else:
        folder, toml = place / "mappings" / SERVICE / "v2", place / "mappings" / SERVICE / "mapping.toml"
        old = rf'(name = "v2"(?:.|\n)*renderings\.{kind.rendering}\]\nrole = "\w+"\nstylesheet = )"[^"]*"'
        new = r'\g<1>"probe.xsl"'
    text, count = re.subn(old, new, toml.read_text(encoding="utf-8"))
    assert count == 1
    toml.write_text(text, encoding="utf-8")
    (folder / "probe.xsl").write_text(kind.text("probe.xsl"), encoding="utf-8")
    return folder / "probe.xsl"


def change(place: Path, table: Table) -> Path:
    """Put another fault into the mapping below `place`; the file."""
    file = place / "mappings" / SERVICE / table.file
    text = file.read_text(encoding="utf-8")
    assert table.old in text
    before, _, last = text.rpartition(table.old)
    file.write_text(text.replace(table.old, table.new) if table.file != "mapping.toml"
                    else before + table.new + last, encoding="utf-8")
    return file
