"""What a DMS by CMIS can be told: where the applications go, as what, and with which properties."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field, model_validator

from connectors._http_options import HttpOptions
from connectors._template import DocumentTemplate, Template, keys


class Options(HttpOptions):
    """``connector = "cmis"``"""

    url: str = Field(description="the service document of the browser binding, or one repository's URL")
    repository_id: str = Field("", description="which repository; empty: the first")
    folder: str = Field("/", description="path of the folder for new applications")
    folder_id: str = Field("", description="or its object id")
    folder_type: str = Field("cmis:folder", description="object type of the new folders")
    document_type: str = Field("cmis:document", description="object type of the documents")
    name: Template = Field("{day} {service} {id}", description="template: name of the new folder")
    properties: Mapping[str, Template] = Field({},
                                               description="properties of the folder: property id = template")
    document_properties: Mapping[str, DocumentTemplate] = Field(
        {}, description="properties of each document: property id = template, also {name}, {filename}, "
                        "{role}, {kind}, {number}")
    external_id: str = Field(
        "", description="property of the folder type that holds the delivery's id; searched first")
    document_external_id: str = Field(
        "", description="property of the document type for '<delivery id>/<number>'")

    @model_validator(mode="after")
    def _usable(self) -> Options:
        self.require_url(self.url)
        if self.folder_id and self.folder != "/":
            raise ValueError("folder and folder_id exclude each other")
        if not self.folder.startswith("/"):
            raise ValueError(f"folder {self.folder!r}: a path from the root on, such as /Eingang/Hundesteuer")
        enough = {"id", "message", "short"} if self.external_id else {"id"}
        if not enough & set(keys(self.name)):
            raise ValueError(
                f"name {self.name!r} needs {{id}}, or with external_id {{short}}: two applications could "
                             "want the same name")
        return self
