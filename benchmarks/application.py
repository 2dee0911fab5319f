"""The measured application: 40 flat fields, with its XSD and its XSLT 1.0.

Document, schema, stylesheet and the hub's mapping are made from one list of fields. So the hub and the bare
pipeline do the same work: the same types and facets in the schema, the same instructions in the stylesheet.

* The bare pipeline validates and translates the document as it was sent
  (``/serviceportal/serviceportal-fields/antrag``). The hub first makes its envelope from it, validates the
  typed envelope and translates the annotated one.
* Both take an attachment out of the document, and decode it once, before schema and stylesheet see it.

Imports nothing from the hub, because `benchmarks.bare` uses it.
"""

from __future__ import annotations

import base64
import random
from collections.abc import Callable
from pathlib import Path

ENVELOPE = "urn:datendrehscheibe:envelope:1"
SERVICE = "leistungsmessung"
AGS = "14999010"
MOST_GROUPS = 12
SIZES = {"4 KB": (1, 0), "40 KB": (10, 0), "5 MB": (1, 3_700_000)}
"""By name: how often the group of 40 fields occurs, and the bytes of an attachment (base64 adds a third)."""

_TEXTS = (
    "familienname",
    "geburtsname",
    "vorname",
    "strasse",
    "hausnummer",
    "ort",
    "ortsteil",
    "telefon",
    "email",
    "beruf",
    "arbeitgeber",
    "bemerkung",
    "zustellname",
    "zustellstrasse",
    "zustellort",
    "vorbesitzer",
    "kennzeichnung",
    "beschreibung",
    "verwendungszweck",
    "hinweis",
)
_DATES = ("geburtsdatum", "zuzugAm", "beginnAm", "endeAm", "bescheidVom", "gehaltenSeit")
_CHOICES = ("anrede", "familienstand", "staatsangehoerigkeit", "wohnform", "zahlweise", "verfahren")
_FLAGS = ("einwilligung", "erstantrag", "haftpflicht")
_MONEY = ("betrag", "einkommen", "miete")
_DIGITS = ("plz", "zustellPlz")
CODES = ("eins", "zwei", "drei", "vier")
FIELDS: tuple[tuple[str, str], ...] = (
    *((name, "text") for name in _TEXTS),
    *((name, "date") for name in _DATES),
    *((name, "choice") for name in _CHOICES),
    *((name, "boolean") for name in _FLAGS),
    *((name, "money") for name in _MONEY),
    *((name, "plz") for name in _DIGITS),
)

_WORDS = (
    "Musterstadt",
    "Beispielweg",
    "Größe",
    "Erika",
    "Mustermann",
    "Straße",
    "Antrag",
    "Müßig",
    "Probe",
    "Dorfstraße",
    "Amt",
    "erfunden",
    "Beispielberg",
    "Nachweis",
    "Anlage",
)


def document(number: str, groups: int = 1, attachment: int = 0) -> bytes:
    """The application called `number`, as the portal sends it.

    It has `groups` times 40 fields and `attachment` bytes of PDF.
    """
    dice = random.Random(number)
    instances = "".join(
        f"<instance_{n}>{_nummer(number, n)}{_values(dice)}"
        f"{_upload(dice, attachment) if n == 0 else ''}</instance_{n}>"
        for n in range(groups)
    )
    return (
        '<?xml version="1.0" '
        'encoding="UTF-8"?>\n<serviceportal><metadata><formId>6000663:Leistungsmessung:v1.0</formId>'
        "<creationDate>2026-11-20T09:30:00.000+01:00</creationDate></metadata>"
        f"<serviceportal-fields><antrag>{instances}"
        "</antrag></serviceportal-fields></serviceportal>\n"
    ).encode()


def _nummer(number: str, n: int) -> str:
    return f"<nummer>{number}</nummer>" if n == 0 else f"<nummer>{number}.{n}</nummer>"


def _values(dice: random.Random) -> str:
    make: dict[str, Callable[[], str]] = {
        "text": lambda: " ".join(dice.choices(_WORDS, k=14)),
        "date": lambda: f"{dice.randrange(1950, 2026)}-0{dice.randrange(1, 10)}-17",
        "choice": lambda: dice.choice(CODES),
        "boolean": lambda: dice.choice(("true", "false")),
        "money": lambda: f"{dice.randrange(100, 9000)}.{dice.randrange(10, 99)}",
        "plz": lambda: f"{dice.randrange(10_000):05}",
    }
    return "".join(f"<{name}>{make[kind]()}</{name}>" for name, kind in FIELDS)


def _upload(dice: random.Random, size: int) -> str:
    if not size:
        return ""
    body = base64.b64encode(b"%PDF-1.4\n" + dice.randbytes(size)).decode()
    kind = "<mimetype>application/pdf</mimetype><filename>nachweis.pdf</filename>"
    return f"<nachweis><base64Data>{body}</base64Data>{kind}</nachweis>"


# --- the schema ---------------------------------------------------------------------------------------------

_TYPES = """\
  <xs:simpleType name="text">
    <xs:restriction base="xs:string">
      <xs:minLength value="1"/>
      <xs:maxLength value="2000"/>
      <xs:pattern value="[^&lt;]*"/>
    </xs:restriction>
  </xs:simpleType>
  <xs:simpleType name="date">
    <xs:restriction base="xs:date">
      <xs:minInclusive value="1900-01-01"/>
      <xs:maxInclusive value="2100-12-31"/>
    </xs:restriction>
  </xs:simpleType>
  <xs:simpleType name="choice">
    <xs:restriction base="xs:token">
{codes}
    </xs:restriction>
  </xs:simpleType>
  <xs:simpleType name="boolean">
    <xs:restriction base="xs:boolean">
      <xs:pattern value="true|false"/>
    </xs:restriction>
  </xs:simpleType>
  <xs:simpleType name="money">
    <xs:restriction base="xs:decimal">
      <xs:fractionDigits value="2"/>
      <xs:minInclusive value="0"/>
      <xs:maxInclusive value="9999999"/>
    </xs:restriction>
  </xs:simpleType>
  <xs:simpleType name="plz">
    <xs:restriction base="xs:string">
      <xs:pattern value="[0-9]{{5}}"/>
    </xs:restriction>
  </xs:simpleType>
  <xs:simpleType name="nummer">
    <xs:restriction base="xs:string">
      <xs:minLength value="3"/>
      <xs:maxLength value="60"/>
      <xs:pattern value="[0-9a-z.-]+"/>
    </xs:restriction>
  </xs:simpleType>
  <xs:complexType name="nachweis">
    <xs:sequence>
      <xs:element name="attachment" maxOccurs="5">
        <xs:complexType>
          <xs:attribute name="ref" type="xs:positiveInteger" use="required"/>
        </xs:complexType>
      </xs:element>
    </xs:sequence>
  </xs:complexType>
  <xs:complexType name="antrag">
    <xs:sequence>
      <xs:element name="nummer" type="{p}nummer"/>
{fields}
      <xs:element name="nachweis" type="{p}nachweis" minOccurs="0"/>
    </xs:sequence>
    <xs:attribute name="n" type="xs:nonNegativeInteger"/>
  </xs:complexType>
</xs:schema>
"""


def _types(prefix: str) -> str:
    return _TYPES.format(
        p=prefix,
        codes="\n".join(f'      <xs:enumeration value="{code}"/>' for code in CODES),
        fields="\n".join(f'      <xs:element name="{name}" type="{prefix}{kind}"/>' for name, kind in FIELDS),
    )


def hub_schema() -> str:
    """The schema of the hub's typed envelope."""
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema" xmlns:e="{ENVELOPE}" targetNamespace="{ENVELOPE}">
  <xs:element name="fields">
    <xs:complexType>
      <xs:sequence>
        <xs:element name="antrag">
          <xs:complexType>
            <xs:sequence>
              <xs:element name="instance" type="e:antrag" maxOccurs="{MOST_GROUPS}"/>
            </xs:sequence>
          </xs:complexType>
        </xs:element>
      </xs:sequence>
    </xs:complexType>
  </xs:element>
{_types("e:")}"""


def bare_schema() -> str:
    """The schema of the document as it was sent, without its attachment."""
    instances = "\n".join(
        f'              <xs:element name="instance_{n}" type="antrag" minOccurs="{int(n == 0)}"/>'
        for n in range(MOST_GROUPS)
    )
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">
  <xs:element name="serviceportal">
    <xs:complexType>
      <xs:sequence>
        <xs:element name="metadata">
          <xs:complexType>
            <xs:sequence>
              <xs:element name="formId" type="xs:string"/>
              <xs:element name="creationDate" type="xs:dateTime"/>
            </xs:sequence>
          </xs:complexType>
        </xs:element>
        <xs:element name="serviceportal-fields">
          <xs:complexType>
            <xs:sequence>
              <xs:element name="antrag">
                <xs:complexType>
                  <xs:sequence>
{instances}
                  </xs:sequence>
                </xs:complexType>
              </xs:element>
            </xs:sequence>
          </xs:complexType>
        </xs:element>
      </xs:sequence>
    </xs:complexType>
  </xs:element>
{_types("")}"""


# --- the stylesheet -----------------------------------------------------------------------------------------

_STYLESHEET = """\
<?xml version="1.0" encoding="UTF-8"?>
<xsl:stylesheet version="1.0" xmlns:xsl="http://www.w3.org/1999/XSL/Transform" xmlns:e="{envelope}"
                exclude-result-prefixes="e">
  <xsl:output method="xml" encoding="UTF-8"/>
  <xsl:template match="/">
    <xsl:variable name="antrag" select="{path}"/>
    <Antrag nummer="{{$antrag[1]/nummer}}" anzahl="{{count($antrag)}}">
      <xsl:apply-templates select="$antrag" mode="person"/>
    </Antrag>
  </xsl:template>
  <xsl:template match="*" mode="person">
    <Person nr="{{position()}}">
      <Name>
        <xsl:value-of select="concat(vorname, ' ', familienname)"/>
        <xsl:if test="normalize-space(geburtsname)">
          <xsl:text> geb. </xsl:text>
          <xsl:value-of select="normalize-space(geburtsname)"/>
        </xsl:if>
      </Name>
{lines}
      <xsl:for-each select="nachweis/attachment">
        <Anlage nr="{{@ref}}"/>
      </xsl:for-each>
      <Uebersicht>
        <xsl:apply-templates select="*[not(*)]" mode="uebersicht">
          <xsl:sort select="name()"/>
        </xsl:apply-templates>
      </Uebersicht>
      <Summe>
        <xsl:call-template name="geld">
          <xsl:with-param name="wert" select="sum(betrag | einkommen | miete)"/>
        </xsl:call-template>
      </Summe>
    </Person>
  </xsl:template>
  <xsl:template match="*" mode="uebersicht">
    <Feld name="{{name()}}" laenge="{{string-length()}}">
      <xsl:value-of select="substring(normalize-space(), 1, 20)"/>
    </Feld>
  </xsl:template>
  <xsl:template name="datum">
    <xsl:param name="wert"/>
    <xsl:value-of select="substring($wert, 9, 2)"/>
    <xsl:text>.</xsl:text>
    <xsl:value-of select="substring($wert, 6, 2)"/>
    <xsl:text>.</xsl:text>
    <xsl:value-of select="substring($wert, 1, 4)"/>
  </xsl:template>
  <xsl:template name="schluessel">
    <xsl:param name="wert"/>
    <xsl:choose>
      <xsl:when test="$wert = 'eins'">Erstens</xsl:when>
      <xsl:when test="$wert = 'zwei'">Zweitens</xsl:when>
      <xsl:when test="$wert = 'drei'">Drittens</xsl:when>
      <xsl:otherwise>
        <xsl:value-of select="$wert"/>
      </xsl:otherwise>
    </xsl:choose>
  </xsl:template>
  <xsl:template name="geld">
    <xsl:param name="wert"/>
    <xsl:value-of select="translate(format-number($wert, '#,##0.00'), ',.', '.,')"/>
    <xsl:text> EUR</xsl:text>
  </xsl:template>
</xsl:stylesheet>
"""


def _line(name: str, kind: str) -> str:
    tag = name[0].upper() + name[1:]
    called = {"date": "datum", "choice": "schluessel", "money": "geld"}.get(kind)
    if called:
        return (
            f'      <{tag}>\n        <xsl:call-template name="{called}">'
            f'<xsl:with-param name="wert" select="{name}"/></xsl:call-template>\n'
            f"      </{tag}>"
        )
    if kind == "boolean":
        return (
            f"      <{tag}>\n        <xsl:choose><xsl:when test=\"{name} = 'true'\">ja</xsl:when>"
            f"<xsl:otherwise>nein</xsl:otherwise></xsl:choose>\n      </{tag}>"
        )
    return f'      <{tag}><xsl:value-of select="{name}"/></{tag}>'


def _stylesheet(path: str) -> str:
    return _STYLESHEET.format(envelope=ENVELOPE, path=path,
                              lines="\n".join(_line(name, kind) for name, kind in FIELDS))


def hub_stylesheet() -> str:
    """The stylesheet that reads the hub's annotated envelope."""
    return _stylesheet("/e:envelope/e:fields/antrag/instance")


def bare_stylesheet() -> str:
    """The stylesheet that reads the document as it was sent."""
    return _stylesheet("/serviceportal/serviceportal-fields/antrag/*")


# --- the hub's mapping --------------------------------------------------------------------------------------

_MAPPING = """service = "{service}"
title = "Leistungsmessung"
category = "einfach"
[[version]]
name = "v1"
forms = ["Leistungsmessung"]
versions = ">=1.0,<2.0"
valid_from = 2024-01-01
subject = "Leistungsmessung"
fields = "fields.toml"
schema = "fields.xsd"
[version.renderings.xml]
role = "xml"
stylesheet = "xml.xsl"
file = "antrag.xml"
media_type = "application/xml"
"""


def write_mapping(folder: Path, service: str = SERVICE) -> None:
    """Write the folder of a service into a hub's ``mappings``."""
    types = {"plz": "text"}
    rows = [("nummer", "text"), *FIELDS, ("nachweis", "file")]
    values = "\n".join(f'{code} = "{code.capitalize()}tens"' for code in CODES)
    lines = "\n".join(
        f'  {{ group = "antrag", id = "{name}", type = "{types.get(kind, kind)}", '
        f'label = "{name.capitalize()}"'
        f"{', values = ' + chr(34) + 'codes' + chr(34) if kind == 'choice' else ''} }},"
        for name, kind in rows
    )
    version = folder / service / "v1"
    version.mkdir(parents=True)
    (folder / service / "mapping.toml").write_text(_MAPPING.format(service=service), encoding="utf-8")
    (version / "fields.toml").write_text(
        'group = [{ id = "antrag", title = "Antrag", instances = true }]\n'
        f'field = [\n{lines}\n]\n[values.codes]\n{values}\n',
        encoding="utf-8",
    )
    (version / "fields.xsd").write_text(hub_schema(), encoding="utf-8")
    (version / "xml.xsl").write_text(hub_stylesheet(), encoding="utf-8")
