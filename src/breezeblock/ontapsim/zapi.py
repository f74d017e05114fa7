"""The three calls of ONTAP's old XML interface that clients make before they use REST."""

from __future__ import annotations

from xml.etree import ElementTree

from breezeblock.ontapsim.array import Array
from breezeblock.ontapsim.model import Node

PATH = "/servlets/netapp.servlets.admin.XMLrequest_filer"
NAMESPACE = "http://www.netapp.com/filer/admin"
CONTENT_TYPE = "text/xml"
VERSION = ("1", "210")
UNKNOWN = "13005"


def answer(array: Array, raw: bytes) -> bytes:
    root = ElementTree.Element("netapp", {"version": ".".join(VERSION), "xmlns": NAMESPACE})
    results = ElementTree.SubElement(root, "results", {"status": "passed"})
    name = _call(raw)
    if name == "system-get-ontapi-version":
        _text(results, "major-version", VERSION[0])
        _text(results, "minor-version", VERSION[1])
    elif name == "system-get-version":
        _version(array, results)
    elif name == "system-node-get-iter":
        _nodes(array, results)
    else:
        reason = f"Unable to find API: {name}"
        results.attrib.update({"status": "failed", "errno": UNKNOWN, "reason": reason})
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True))


def _call(raw: bytes) -> str:
    """The name of the call: the first element in the document."""
    try:
        document = ElementTree.fromstring(raw)
    except ElementTree.ParseError:
        return "(no XML)"
    return document[0].tag.rpartition("}")[2] if len(document) else "(nothing)"


def _version(array: Array, results: ElementTree.Element) -> None:
    version = array.cluster.version
    _text(results, "is-clustered", "true")
    _text(results, "version", f"NetApp Release {version}: Simulator")
    whole = ElementTree.SubElement(results, "version-tuple")
    parts = ElementTree.SubElement(whole, "system-version-tuple")
    for name, number in zip(("generation", "major", "minor"), version.split("."), strict=True):
        _text(parts, name, number)


def _nodes(array: Array, results: ElementTree.Element) -> None:
    nodes = array.state.all(Node)
    listing = ElementTree.SubElement(results, "attributes-list")
    for node in nodes:
        details = ElementTree.SubElement(listing, "node-details-info")
        _text(details, "node", node.name)
        _text(details, "node-model", node.model)
        _text(details, "node-serial-number", node.serial)
        _text(details, "is-all-flash-optimized", str(node.all_flash).lower())
        _text(details, "is-all-flash-select-optimized", "false")
    _text(results, "num-records", str(len(nodes)))


def _text(parent: ElementTree.Element, name: str, text: str) -> None:
    ElementTree.SubElement(parent, name).text = text
