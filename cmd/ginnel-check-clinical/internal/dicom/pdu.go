package dicom

import (
	"encoding/binary"
	"fmt"
	"io"
)

// Types of PDU (PS3.8 9.3.1).
const (
	associateRQ = 0x01
	associateAC = 0x02
	associateRJ = 0x03
	dataTF      = 0x04
	releaseRQ   = 0x05
	releaseRP   = 0x06
	abortPDU    = 0x07
)

// pduMost is the longest PDU that we take, in bytes without its header. We
// announce it, and no answer to an echo comes near it.
const pduMost = 16384

// pdu is a protocol data unit without its header.
type pdu struct {
	kind byte
	body []byte
}

// readPDU reads one (PS3.8 9.3.1: type, a byte that means nothing, length).
func readPDU(r io.Reader) (pdu, error) {
	var head [6]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return pdu{}, err
	}
	p := pdu{kind: head[0]}
	size := binary.BigEndian.Uint32(head[2:])
	if p.kind < associateRQ || p.kind > abortPDU {
		return p, malformed("an answer of type %#02x is no DICOM", p.kind)
	}
	if size > pduMost {
		return p, malformed("an answer of %d bytes, more than the %d that we take", size, pduMost)
	}
	p.body = make([]byte, size)
	_, err := io.ReadFull(r, p.body)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return p, err
}

// bytes is the PDU as it goes on the wire, to be sent by one write: in two, the
// second would wait for an acknowledgement of the first.
func (p pdu) bytes() []byte {
	b := make([]byte, 6, 6+len(p.body))
	b[0] = p.kind
	binary.BigEndian.PutUint32(b[2:], uint32(len(p.body)))
	return append(b, p.body...)
}

// malformedError is about an answer that breaks the standard.
type malformedError struct{ text string }

func (e *malformedError) Error() string { return e.text }

func malformed(format string, args ...any) error {
	return &malformedError{fmt.Sprintf(format, args...)}
}

// items walks through variable items: type, a byte that means nothing, a length
// of 16 bits, content (PS3.8 9.3.2).
func items(b []byte, each func(kind byte, content []byte) error) error {
	for len(b) > 0 {
		if len(b) < 4 {
			return malformed("an item ends within its head")
		}
		size := int(binary.BigEndian.Uint16(b[2:]))
		if len(b) < 4+size {
			return malformed("an item of %d bytes, of which %d are there", size, len(b)-4)
		}
		if err := each(b[0], b[4:4+size]); err != nil {
			return err
		}
		b = b[4+size:]
	}
	return nil
}

func item(kind byte, content []byte) []byte {
	b := []byte{kind, 0, 0, 0}
	binary.BigEndian.PutUint16(b[2:], uint16(len(content)))
	return append(b, content...)
}
