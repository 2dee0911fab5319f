"""What a stylesheet finds, and what it can never do; each safety claim with a planted fault."""

from __future__ import annotations

from pathlib import Path

import pytest
from lxml import etree

from hub.errors import Rejected
from hub.pipeline import xslt
from tests.unit.pipeline.workplace import XSL, Workplace


@pytest.mark.parametrize("version", ["1.0", "2.0", "3.0"])
def test_parameters_and_imports_of_all_layers(workplace: Workplace, version: str) -> None:
    workplace.write("v1/teile/b.xsl",
               f'<xsl:stylesheet {XSL} version="{version}"><xsl:include href="../../alle.xsl"/>'
               '<xsl:template name="wer"><wer>v1</wer></xsl:template></xsl:stylesheet>')
    workplace.write("alle.xsl",
               f'<xsl:stylesheet {XSL} version="{version}"><xsl:template name="alle"><alle/></xsl:template>'
               "</xsl:stylesheet>")
    workplace.sheet("""<xsl:import
        href = 'teile/b.xsl' />
      <xsl:import href="common:eingang.xsl"/><xsl:output indent="no"/>
      <xsl:template match="/"><o name="{$name}" short="{$short}"><xsl:call-template name="wer"/>
      <xsl:call-template name="alle"/></o></xsl:template>""", version)
    workplace.renderings = {"x": {"role": "xml", "stylesheet": "x.xsl", "file": "x.xml", "media_type": "a/b"}}
    (delivery,), out = workplace.render()
    own = etree.fromstring(workplace.body(delivery.parts[0], out))
    assert dict(own.attrib) == {"name": "Stadt Musterstadt", "short": "01936f00-abcd"}
    assert [child.tag for child in own] == ["wer", "alle"]

    (workplace.municipality / "sub").mkdir()
    (workplace.municipality / "sub" / "x.xsl").write_text(
        f'<xsl:stylesheet {XSL} version="{version}"><xsl:import href="mapping:x.xsl"/>'
        '<xsl:template name="wer"><wer>town</wer></xsl:template></xsl:stylesheet>')
    workplace.stylesheets = {"x": "sub/x.xsl"}
    (delivery,), out = workplace.render()
    assert etree.fromstring(workplace.body(delivery.parts[0], out)).findtext("wer") == "town"


@pytest.mark.parametrize("version", ["1.0", "3.0"])
@pytest.mark.parametrize("href", [
    "file:///etc/passwd", "/etc/passwd", "http://192.0.2.1/x.xsl", "../../geheim.xsl",
    "mapping:../../geheim.xsl",
    "common:../hundesteuer/v1/x.xsl", "town:x.xsl", "data:application/xml,&lt;x/>", "..\\x.xsl", "",
    "mapping:", "//x/y",
])
def test_imports_stay_in_the_package(workplace: Workplace, version: str, href: str) -> None:
    (workplace.package.parent / "geheim.xsl").write_text(f'<xsl:stylesheet {XSL} version="{version}"/>')
    with pytest.raises(Rejected) as caught:
        workplace.one(f'<xsl:import href="{href}"/><xsl:template match="/"><x/></xsl:template>', version)
    assert caught.value.reason == "mapping"
    assert "mapping:v1" in caught.value.text or "das fehlt" in caught.value.text


@pytest.mark.parametrize("version", ["1.0", "3.0"])
def test_a_symbolic_link_does_not_lead_out(workplace: Workplace, version: str) -> None:
    outside = workplace.package.parent / "aussen.xsl"
    outside.write_text(f'<xsl:stylesheet {XSL} version="{version}"/>')
    (workplace.package / "v1" / "link.xsl").symlink_to(outside)
    with pytest.raises(Rejected, match="das fehlt"):
        workplace.one('<xsl:import href="link.xsl"/><xsl:template match="/"><x/></xsl:template>', version)


def test_a_circle_of_imports_is_told(workplace: Workplace) -> None:
    workplace.sheet('<xsl:import href="x.xsl"/>', name="v1/y.xsl")
    for version in ("1.0", "3.0"):
        with pytest.raises(Rejected, match="im Kreis"):
            workplace.one('<xsl:import href="y.xsl"/><xsl:template match="/"><x/></xsl:template>', version)


READS_1 = ["document('file://{file}')", "document('{file}')", "document('mapping:v1/x.xsl')", "document('')"]
READS_3 = ["doc('file://{file}')", "document('{file}')", "unparsed-text('file://{file}')",
           "json-doc('file://{file}')",
           "unparsed-text-lines('file://{file}')", "collection('file://{folder}')",
           "uri-collection('file://{folder}')",
           "transform(map{{'stylesheet-location': 'file://{file}', 'source-node': /}})?output"]


@pytest.mark.parametrize(("version", "expression"),
                         [*(("1.0", read) for read in READS_1), *(("3.0", read) for read in READS_3)])
def test_reading_files_is_refused(workplace: Workplace, secret: Path, version: str, expression: str) -> None:
    select = expression.format(file=secret, folder=secret.parent)
    with pytest.raises(Rejected) as caught:
        workplace.one(f'<xsl:template match="/"><x><xsl:copy-of select="{select}"/></x></xsl:template>',
                      version)
    assert caught.value.reason == "mapping"
    assert "streng geheim" not in caught.value.text


def test_reading_while_compiling_is_refused(workplace: Workplace, secret: Path) -> None:
    with pytest.raises(Rejected) as caught:
        workplace.one(f"""<xsl:param name="p" static="yes" select="doc('file://{secret}')"/>
                     <xsl:template match="/"><x><xsl:copy-of select="$p"/></x></xsl:template>""", "3.0")
    assert caught.value.reason == "mapping"


def test_the_environment_is_empty(workplace: Workplace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEHEIM", "streng geheim")
    content = workplace.one(
        """<xsl:template match="/"><x><xsl:value-of select="environment-variable('GEHEIM'),
            environment-variable('PATH'), available-environment-variables()"/></x></xsl:template>""",
        "3.0")
    assert not (etree.fromstring(content).text or "").strip()


@pytest.mark.parametrize(("version", "body"), [
    ("1.0", '<exsl:document href="{file}"><y/></exsl:document>'),
    ("1.0", '<sax:output href="{file}"><y/></sax:output>'),
    ("3.0", '<xsl:result-document href="file://{file}"><y/></xsl:result-document>'),
])
def test_writing_files_is_refused(workplace: Workplace, tmp_path: Path, version: str, body: str) -> None:
    target = tmp_path / "geschrieben.xml"
    with pytest.raises(Rejected) as caught:
        workplace.one(f'<xsl:template match="/"><x>{body.format(file=target)}</x></xsl:template>', version)
    assert caught.value.reason == "mapping"
    assert not target.exists()


def test_the_tests_notice_when_access_is_not_denied(workplace: Workplace, secret: Path, tmp_path: Path,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: without DENIED the very same stylesheets write, and read what the resolver finds."""
    monkeypatch.setattr(xslt, "DENIED", None)
    target = tmp_path / "geschrieben.xml"
    content = workplace.one(f"""<xsl:template match="/">
        <x><xsl:copy-of select="document('mapping:v1/x.xsl')"/>
        <exsl:document href="{target}"><y/></exsl:document></x></xsl:template>""")
    assert b"exsl:document" in content
    assert target.exists()


def test_the_resolver_stands_even_where_access_is_not_denied(workplace: Workplace, secret: Path,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xslt, "DENIED", None)
    body = f"""<xsl:template match="/"><x><xsl:copy-of select="document('{secret}')"/></x></xsl:template>"""
    with pytest.raises(Rejected, match="ein Dokument lesen oder schreiben"):
        workplace.one(body)


def test_the_tests_notice_when_saxon_is_open(tmp_path: Path, secret: Path) -> None:
    """The planted fault: a process whose Saxon was not closed reads files. (In a process of its own: settings
    stick.)"""
    import subprocess
    import sys

    program = (
        "import sys; from pathlib import Path; from lxml import etree; from hub.pipeline import xslt\n"
        "xslt.SAXON_SETTINGS.clear()\n"
        "layers = xslt.Layers(Path(sys.argv[1]), 'v1')\n"
        "print(xslt.compiled(layers, 'x.xsl').run(etree.fromstring('<a/>'), {}).decode())\n")
    (tmp_path / "v1").mkdir()
    (tmp_path / "v1" / "x.xsl").write_text(
        f'<xsl:stylesheet {XSL} version="3.0"><xsl:template match="/"><xsl:copy-of '
        f'select="doc(\'file://{secret}\')"/>'
        "</xsl:template></xsl:stylesheet>")
    open_ = subprocess.run([sys.executable, "-c", program, tmp_path], capture_output=True, text=True,
                           timeout=60, check=False)
    assert "streng geheim" in open_.stdout
    closed = subprocess.run([sys.executable, "-c", program.replace("xslt.SAXON_SETTINGS.clear()", ""),
                             tmp_path],
                            capture_output=True, text=True, timeout=60, check=False)
    assert closed.returncode != 0 and "streng geheim" not in closed.stdout
    assert "prohibited" in closed.stderr


@pytest.mark.parametrize(("raw", "words"), [
    (f'<!DOCTYPE x [<!ENTITY a "b">]><xsl:stylesheet {XSL} version="1.0"/>', "DOCTYPE"),
    (f'<xsl:stylesheet {XSL} version="4.0"/>', "version"),
    (f"<xsl:stylesheet {XSL}/>", "version"),
])
def test_other_unusable_stylesheets(workplace: Workplace, raw: str, words: str) -> None:
    workplace.write("v1/x.xsl", raw)
    workplace.renderings = {"x": {"role": "xml", "stylesheet": "x.xsl", "file": "x.xml", "media_type": "a/b"}}
    with pytest.raises(Rejected, match=words) as caught:
        workplace.render()
    assert caught.value.reason == "mapping"


def test_a_broken_stylesheet_does_not_stay_in_the_cache(workplace: Workplace) -> None:
    with pytest.raises(Rejected):
        workplace.one('<xsl:import href="fehlt.xsl"/>')
    workplace.sheet('<xsl:template match="/"><x/></xsl:template>', name="v1/fehlt.xsl")
    assert b"<x " in workplace.one('<xsl:import href="fehlt.xsl"/>')


@pytest.mark.parametrize("version", ["1.0", "3.0"])
def test_a_mere_message_ends_nothing(workplace: Workplace, version: str) -> None:
    content = workplace.one('<xsl:template match="/"><xsl:message>nur so</xsl:message><x/></xsl:template>',
                       version)
    assert etree.fromstring(content).tag == "x"
