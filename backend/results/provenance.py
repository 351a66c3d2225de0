"""What says that a file was generated: the sentence, the IPTC mark, and the marks inside pictures."""

from __future__ import annotations

import struct
import zlib

SENTENCE = (
    "Generated content: a 3D head computed by Headstitch from one photo; what the photo does not show is invented."
)

# IPTC's vocabulary of digital source types. The result mixes captured pixels (the photo, where it sees the head) with
# computed shape and colour: "a mix or composite of several elements, at least one of which is synthetic".
# "trainedAlgorithmicMedia" would say that nothing of it was captured, which is not so.
DIGITAL_SOURCE_TYPE = "compositeSynthetic"
_VOCABULARY = "http://cv.iptc.org/newscodes/digitalsourcetype/"  # an identifier; nothing is ever fetched from it


def xmp() -> bytes:
    """The XMP packet that carries the IPTC mark; the same bytes every time."""
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"'
        ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        f' Iptc4xmpExt:DigitalSourceType="{_VOCABULARY}{DIGITAL_SOURCE_TYPE}">'
        f'<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{SENTENCE}</rdf:li></rdf:Alt></dc:description>'
        '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


def mark_png(png: bytes) -> bytes:
    """The PNG with a tEXt chunk (the sentence) and an iTXt chunk (the XMP packet) right after its header."""
    header = 8 + 25  # signature, IHDR with length, name, 13 bytes and checksum
    text = _chunk(b"tEXt", b"Description\0" + SENTENCE.encode("latin-1"))
    packet = _chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp())
    return png[:header] + text + packet + png[header:]


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
