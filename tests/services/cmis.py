"""A real CMIS 1.1 server on loopback: Apache Chemistry's in-memory repository in Jetty, with a login.

Both come from Maven Central (`tests.services.maven`). The SOAP servlets of the WAR do not start on Java 17,
which has no javax.xml.ws any more. So the server gets a web.xml with the browser binding only.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import httpx2

from tests.services import accepts, free_port, need, wait_until
from tests.services.maven import artifact

ARTIFACTS = {
    "org.apache.chemistry.opencmis:chemistry-opencmis-server-inmemory:1.1.0:war":
        "e64213571d416a5ff03a923693b97bb32d680b353af40d6807ce007197ae71d9",
    "org.eclipse.jetty:jetty-runner:9.4.57.v20241219:jar":
        "f63fbee00a06f04a3f715267d5d53ba4389b5b3e9ecc6168d8b73d81243a883f",
}
USER, PASSWORD = "drehscheibe", "geheim"
WEB = """<web-app version="3.1" metadata-complete="true" xmlns="http://xmlns.jcp.org/xml/ns/javaee">
  <listener>
    <listener-class>org.apache.chemistry.opencmis.server.impl.CmisRepositoryContextListener</listener-class>
  </listener>
  <servlet>
    <servlet-name>browser</servlet-name>
    <servlet-class>org.apache.chemistry.opencmis.server.impl.browser.CmisBrowserBindingServlet</servlet-class>
    <init-param>
      <param-name>callContextHandler</param-name>
      <param-value>org.apache.chemistry.opencmis.server.shared.BasicAuthCallContextHandler</param-value>
    </init-param>
    <load-on-startup>1</load-on-startup>
  </servlet>
  <servlet-mapping><servlet-name>browser</servlet-name><url-pattern>/browser/*</url-pattern></servlet-mapping>
  <security-constraint>
    <web-resource-collection>
      <web-resource-name>all</web-resource-name><url-pattern>/*</url-pattern>
    </web-resource-collection>
    <auth-constraint><role-name>dms</role-name></auth-constraint>
  </security-constraint>
  <login-config><auth-method>BASIC</auth-method><realm-name>dms</realm-name></login-config>
  <security-role><role-name>dms</role-name></security-role>
</web-app>
"""
LOGIN = """<Configure class="org.eclipse.jetty.webapp.WebAppContext">
<Get name="securityHandler"><Set name="loginService">
  <New class="org.eclipse.jetty.security.HashLoginService">
    <Set name="name">dms</Set><Set name="config">{users}</Set>
  </New>
</Set></Get></Configure>
"""


def property_definition(name: str, kind: str = "string", **more: Any) -> dict[str, Any]:
    """The definition of a property, as createType takes it."""
    return {"id": name, "localName": name, "localNamespace": "mst", "queryName": name, "displayName": name,
            "description": name,
            "propertyType": kind, "cardinality": "single", "updatability": "readwrite", "inherited": False,
            "required": False, "queryable": True, "orderable": True, "openChoice": True, **more}


def type_definition(name: str, base: str, *properties: dict[str, Any]) -> dict[str, Any]:
    """The definition of a type below a base type."""
    more = {"versionable": False, "contentStreamAllowed": "allowed"} if base == "cmis:document" else {}
    return {"id": name, "localName": name, "localNamespace": "mst", "queryName": name, "displayName": name,
            "description": name,
            "baseId": base, "parentId": base, "creatable": True, "fileable": True, "queryable": True,
            "fulltextIndexed": False,
            "includedInSupertypeQuery": True, "controllablePolicy": False, "controllableACL": True,
            "typeMutability": {"create": True, "update": True, "delete": True},
            "propertyDefinitions": {found["id"]: found for found in properties}, **more}


TYPES = (
    type_definition("mst:vorgang", "cmis:folder", property_definition("mst:kennung"),
                    property_definition("mst:betreff"), property_definition("mst:eingang", "datetime"),
                    property_definition("mst:kurz", maxLength=5)),
    type_definition("mst:streng", "cmis:folder", property_definition("mst:pflicht", required=True),
                    property_definition("mst:fest", updatability="readonly")),
    type_definition("mst:dokument", "cmis:document", property_definition("mst:nummer"),
                    property_definition("mst:art")),
)


class Chemistry:
    """The server. `url` is its service document. Its content is lost when it stops."""

    def __init__(self, root: Path) -> None:
        self._java = need("java", "openjdk-17-jre-headless")
        war, self._jetty = (artifact(name, digest) for name, digest in ARTIFACTS.items())
        self.root = root
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/cmis/browser"
        self._unpack(war)
        self.start()

    def _unpack(self, war: Path) -> None:
        app = self.root / "app"
        shutil.rmtree(app, ignore_errors=True)
        with zipfile.ZipFile(war) as archive:
            archive.extractall(app)
        users = self.root / "users"
        users.write_text(f"{USER}: {PASSWORD},dms\n")
        (app / "WEB-INF" / "web.xml").write_text(WEB)
        (app / "WEB-INF" / "jetty-web.xml").write_text(LOGIN.format(users=users))
        settings = app / "WEB-INF" / "classes" / "repository.properties"
        text = settings.read_text()
        for key, value in (("RepositoryFiller.Enable", "false"), ("InMemoryServer.MaxSize", "200000000"),
                           ("InMemoryServer.EncryptTempFiles", "false")):  # Java 17 does not know its cipher
            text = re.sub(rf"^{key}=.*$", f"{key}={value}", text, flags=re.MULTILINE)
        settings.write_text(text)

    def start(self) -> None:
        """Start the server and make the types. A second start has the same port and no content."""
        with (self.root / "jetty.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._java, "-Xmx512m", f"-Djava.io.tmpdir={self.root}",
                 "-Dorg.eclipse.jetty.xml.XmlParser.Validating=false",
                 "-jar", str(self._jetty), "--host", "127.0.0.1", "--port", str(self.port), "--path", "/cmis",
                 str(self.root / "app")],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.client = httpx2.Client(auth=(USER, PASSWORD), timeout=60, trust_env=False)
        try:
            wait_until(lambda: accepts(self.port) or not self.running(), "Jetty listens", 120)
            self._make_types()
        except BaseException:
            self.close()
            raise

    def _make_types(self) -> None:
        info = self.client.get(self.url).json()["A1"]
        self.repository, self.files = info["repositoryUrl"], info["rootFolderUrl"]
        for definition in TYPES:
            made = self.client.post(self.repository,
                                    data={"cmisaction": "createType", "type": json.dumps(definition)})
            assert made.status_code == 201, made.text

    def running(self) -> bool:
        """Whether the server runs."""
        return self._process.poll() is None

    def kill(self) -> None:
        """Kill the server, as a power failure would."""
        self.client.close()
        self._process.kill()
        self._process.wait(10)

    def close(self) -> None:
        """Stop the server."""
        if self.running():
            self.kill()

    # --- what a clerk sees and does -------------------------------------------------------------------------

    def make_folder(self, name: str) -> str:
        """Make a folder below the root. Returns its object id."""
        made = self.client.post(self.files, data={
            "cmisaction": "createFolder", "succinct": "true", "propertyId[0]": "cmis:objectTypeId",
            "propertyValue[0]": "cmis:folder", "propertyId[1]": "cmis:name", "propertyValue[1]": name})
        return str(made.json()["succinctProperties"]["cmis:objectId"])

    def children(self, folder: str) -> list[dict[str, Any]]:
        """The properties of each object in a folder."""
        answer = self.client.get(self.files,
                                 params={"objectId": folder, "cmisselector": "children", "succinct": "true",
                                         "maxItems": "1000"})
        answer.raise_for_status()
        return [row["object"]["succinctProperties"] for row in answer.json()["objects"]]

    def content(self, document: str) -> bytes:
        """The bytes of a document."""
        answer = self.client.get(self.files, params={"objectId": document, "cmisselector": "content"})
        answer.raise_for_status()
        return answer.content

    def act(self, action: str, target: str, **fields: str) -> None:
        """Do anything else: rename (update), move, delete."""
        answer = self.client.post(self.files, params={"objectId": target},
                                  data={"cmisaction": action, **fields})
        assert answer.status_code < 300, answer.text
