"""Form dumps in XML: three generations of them.

::

    serviceportal-fields   before version 1.6 of the blueprint: no metadata. Of a multi-upload it has only its
                           objects' ``toString()``; the files come as parts ``<prefix>_anhang_<field>.<ext>``
    serviceportal          since version 1.6: metadata in any order, the applicant's PDF among them
    serviceportal-lists    the same with lists or complete multi-uploads (``selectedValue``)

Values are text exactly as sent. One thing is undone: the dumpers escape list values, file names, media types
and metadata twice (``escapeXml`` and then ``MarkupBuilder``; OZG-Hub serviceportale-commons 9965d7c,
blueprint process 4556da3). So one level is taken off there, and only where the text can be what ``escapeXml``
writes. A text field is escaped once.
"""

from __future__ import annotations

import re

from lxml import etree

from hub.errors import Rejected
from hub.i18n.sentence import Sentence, say
from hub.message import Reason
from hub.pipeline.envelope import EnvelopeBuilder, decode_base64, undouble
from hub.pipeline.places import line_of

_INSTANCE = re.compile(r"instance_(\d{1,6})", re.ASCII)
_LOST_UPLOAD = re.compile(r"(?:[\w$]+\.)*BinaryContent(?:V1)?(?:@[0-9a-f]+|[\[({].*)", re.DOTALL)


def known(element: etree._Element) -> tuple[Sentence, ...]:
    """What was found where another element should be, by the length of its name, and what is known."""
    name = etree.QName(element)
    space = say(" in einem Namensraum") if name.namespace else say("")
    return (say("gefunden: ein Element in Zeile {line}, dessen Name {length} Zeichen hat{space}",
                line=line_of(element), length=len(name.localname), space=space),
            say("bekannt: serviceportal, serviceportal-fields, XÖV-Nachrichten, Formulare in JSON"))


def is_form(root: etree._Element) -> bool:
    """Whether a document is a form dump, by its root."""
    return root.tag == "serviceportal-fields" or (root.tag == "serviceportal"
                                                  and root.find("serviceportal-fields") is not None)


def is_lost_upload(text: str) -> bool:
    """Whether a value is all that an old dump has of a file: what Java calls the object."""
    return _LOST_UPLOAD.fullmatch(text) is not None


def from_form(work: EnvelopeBuilder, root: etree._Element) -> None:
    """Take over a form dump (`is_form`). Raises `Rejected` (``unknown-form``, ``invalid``, ``limit``)."""
    if root.tag == "serviceportal-fields":
        form_fields(work, root, "serviceportal-fields")
        return
    has_lists = next(root.iter("selectedValue"), None) is not None
    work.facts["source"] = "serviceportal-lists" if has_lists else "serviceportal"
    form_metadata(work, root.find("metadata"))
    for fields in root.findall("serviceportal-fields"):
        form_fields(work, fields, work.facts["source"])


def form_metadata(work: EnvelopeBuilder, metadata: etree._Element | None) -> None:
    """Take over what is known of a form beside its fields; the applicant's PDF is written to the output."""
    values: dict[str, str] = {}
    for element in metadata if metadata is not None else ():
        if element.tag == "pdfApplicantFormBase64":
            if element.text and element.text.strip():
                work.attach(decode_base64(element.text), "antrag.pdf", "application/pdf", "applicant-pdf")
                element.text = None
        else:
            values[element.tag] = undouble(element.text or "")
    work.form(values.get("formId"))
    work.created = values.get("creationDate")
    work.postfach = values.get("postfachHandleId")


def form_fields(work: EnvelopeBuilder, fields: etree._Element, source: str) -> None:
    """Take over groups, instances and fields. Raises `Rejected` (``unknown-form``, ``invalid``,
    ``limit``)."""
    work.facts["source"] = source
    for group in fields:
        for instance in list(group):
            number = _INSTANCE.fullmatch(instance.tag)
            if number is None:
                raise Rejected(Reason.UNKNOWN_FORM,
                               say("unter einer Feldgruppe steht etwas anderes als instance_<n>"),
                               known(instance))
            name, index = group.tag, int(number[1])
            sent, prefix = list(instance), f"{name}:{index}:"
            parent = work.instance(name, index, instance)
            for element in sent:
                place = work.place(prefix, element.tag)
                if len(element):
                    target = work.field_element(parent, place, element.tag)
                    _form_values(work, place, target, element)
                    parent.replace(element, target)
                else:
                    work.elements[place] = element
                if element.keys():
                    element.attrib.clear()
                if element.tail:
                    element.tail = None
    etree.cleanup_namespaces(work.fields)


def _form_values(work: EnvelopeBuilder, place: str, target: etree._Element, element: etree._Element) -> None:
    if element.find("base64Data") is not None:
        _form_upload(work, place, target, element)
    else:
        for child in element:
            _form_list_item(work, place, target, child)


def _form_list_item(work: EnvelopeBuilder, place: str, target: etree._Element, child: etree._Element) -> None:
    if child.tag != "selectedValue":
        raise _unknown(work, place, child)
    if child.find("base64Data") is not None:
        _form_upload(work, place, target, child)
    elif len(child):
        raise _unknown(work, place, child[0])
    else:
        text = undouble(child.text or "")
        if work.facts["source"] == "serviceportal-fields" and is_lost_upload(text):
            work.lost[place] = work.lost.get(place, 0) + 1
        else:
            etree.SubElement(target, "value").text = text


def _form_upload(work: EnvelopeBuilder, place: str, target: etree._Element, element: etree._Element) -> None:
    data = element.find("base64Data")
    if data is None or len(data) or {child.tag for child in element} - {"base64Data", "mimetype", "filename"}:
        raise _unknown(work, place, element)
    number = work.attach(decode_base64(data.text or ""), undouble(element.findtext("filename") or ""),
                         undouble(element.findtext("mimetype") or ""), "upload", place)
    data.text = None
    work.refer(target, number)


def _unknown(work: EnvelopeBuilder, place: str, element: etree._Element) -> Rejected:
    return Rejected(Reason.UNKNOWN_FORM, say("das Feld {place} hat einen unbekannten Aufbau",
                                             place=work.told(place)), known(element))
