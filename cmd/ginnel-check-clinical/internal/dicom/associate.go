package dicom

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
)

// Names that an association for an echo needs.
const (
	applicationContext = "1.2.840.10008.3.1.1.1" // PS3.7 A.2.1
	verification       = "1.2.840.10008.1.1"     // SOP class, PS3.4 A.4
	implicitLittle     = "1.2.840.10008.1.2"     // transfer syntax, PS3.5 A.1
	// ours is a UID from a UUID (PS3.5 B.2), so that nobody needs to register it.
	ours        = "2.25.305828488182831875890203105390285383139"
	oursVersion = "GINNEL"
)

// contextID is that of our only presentation context.
const contextID = 1

// titleSize is that of an application entity title, padded with spaces.
const titleSize = 16

// associateRequest asks for an association that can do nothing but echo
// (PS3.8 9.3.2).
func associateRequest(called, calling string) pdu {
	b := make([]byte, 4, 256)
	binary.BigEndian.PutUint16(b, 1) // protocol version
	b = append(b, title(called)...)
	b = append(b, title(calling)...)
	b = append(b, make([]byte, 32)...)
	b = append(b, item(0x10, []byte(applicationContext))...)
	context := []byte{contextID, 0, 0, 0}
	context = append(context, item(0x30, []byte(verification))...)
	context = append(context, item(0x40, []byte(implicitLittle))...)
	b = append(b, item(0x20, context)...)
	user := item(0x51, binary.BigEndian.AppendUint32(nil, pduMost))
	user = append(user, item(0x52, []byte(ours))...)
	user = append(user, item(0x55, []byte(oursVersion))...)
	return pdu{associateRQ, append(b, item(0x50, user)...)}
}

func title(s string) []byte { return fmt.Appendf(nil, "%-*s", titleSize, s) }

// accepted is what the other side says of itself in A-ASSOCIATE-AC.
type accepted struct {
	context        byte   // the answer to our presentation context; 0: accepted
	syntax         string // the transfer syntax that it chose
	implementation string // UID of the program
	version        string // its name and version, where it gives one
}

// acceptHead is what comes before the variable items (PS3.8 9.3.3).
const acceptHead = 2 + 2 + 16 + 16 + 32

func parseAccept(body []byte) (accepted, error) {
	a := accepted{context: 0xff}
	if len(body) < acceptHead {
		return a, malformed("an acceptance of %d bytes", len(body))
	}
	err := items(body[acceptHead:], func(kind byte, content []byte) error {
		switch kind {
		case 0x21:
			return a.takeContext(content)
		case 0x50:
			return items(content, a.takeUser)
		}
		return nil
	})
	if err == nil && a.context == 0xff {
		err = malformed("an acceptance that says nothing of what we asked for")
	}
	return a, err
}

// takeContext takes the answer to a presentation context (PS3.8 9.3.3.2).
func (a *accepted) takeContext(content []byte) error {
	if len(content) < 4 {
		return malformed("a presentation context of %d bytes", len(content))
	}
	if content[0] != contextID {
		return nil
	}
	a.context = content[2]
	return items(content[4:], func(kind byte, content []byte) error {
		if kind == 0x40 {
			a.syntax = text(content)
		}
		return nil
	})
}

func (a *accepted) takeUser(kind byte, content []byte) error {
	switch kind {
	case 0x52:
		a.implementation = text(content)
	case 0x55:
		a.version = text(content)
	}
	return nil
}

// program names what answers.
func (a accepted) program() string {
	if a.version != "" {
		return a.version
	}
	return a.implementation
}

// text takes the padding off a UID or a name, and what no terminal should get.
func text(b []byte) string {
	b = bytes.TrimRight(b, "\x00 ")
	return strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' {
			return '?'
		}
		return r
	}, string(b))
}

// contextRefusal says why a presentation context was refused (PS3.8 9.3.3.2).
func contextRefusal(result byte) string {
	switch result {
	case 1:
		return "its user refused"
	case 2:
		return "no reason given"
	case 3:
		return "it does not know Verification"
	case 4:
		return "it does not know implicit little endian"
	}
	return fmt.Sprintf("result %d", result)
}
