package dicom

import (
	"encoding/binary"
	"fmt"
)

// Elements of a command set (PS3.7 E.1), all of group 0000.
const (
	groupLength  = 0x0000
	affectedSOP  = 0x0002
	commandField = 0x0100
	messageID    = 0x0110
	respondedTo  = 0x0120
	dataSetType  = 0x0800
	status       = 0x0900
	errorComment = 0x0902
)

// Values of theirs (PS3.7 9.3.5).
const (
	echoRQ    = 0x0030
	echoRSP   = 0x8030
	noDataSet = 0x0101
)

// commandMost is the longest command that we put together from its fragments,
// in bytes; an answer to an echo has about 80.
const commandMost = 4096

// echoRequest is C-ECHO-RQ in one P-DATA-TF (PS3.7 9.3.5.1, PS3.8 9.3.5).
func echoRequest(id uint16) pdu {
	set := element(affectedSOP, padded(verification))
	set = append(set, element(commandField, short(echoRQ))...)
	set = append(set, element(messageID, short(id))...)
	set = append(set, element(dataSetType, short(noDataSet))...)
	set = append(element(groupLength, binary.LittleEndian.AppendUint32(nil, uint32(len(set)))), set...)
	value := append([]byte{contextID, commandFragment | lastFragment}, set...)
	return pdu{dataTF, append(binary.BigEndian.AppendUint32(nil, uint32(len(value))), value...)}
}

// element is one in implicit little endian, which commands always are in
// (PS3.7 6.3.1).
func element(number uint16, value []byte) []byte {
	b := binary.LittleEndian.AppendUint16([]byte{0, 0}, number)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(value)))
	return append(b, value...)
}

func short(v uint16) []byte { return binary.LittleEndian.AppendUint16(nil, v) }

// padded gives a UID the even length that it must have.
func padded(uid string) []byte {
	if len(uid)%2 == 1 {
		uid += "\x00"
	}
	return []byte(uid)
}

// Bits of a message control header (PS3.8 E.2).
const (
	commandFragment = 1
	lastFragment    = 2
)

// command is a command set that comes in fragments.
type command struct {
	set      []byte
	complete bool
}

// take adds the fragments of a P-DATA-TF.
func (c *command) take(body []byte) error {
	for len(body) > 0 {
		if len(body) < 6 {
			return malformed("a fragment ends within its head")
		}
		size := binary.BigEndian.Uint32(body)
		if size < 2 || uint64(size) > uint64(len(body)-4) {
			return malformed("a fragment of %d bytes, of which %d are there", size, len(body)-4)
		}
		value := body[4 : 4+size]
		body = body[4+size:]
		switch control := value[1]; {
		case value[0] != contextID:
			return malformed("an answer in context %d, which we have not asked for", value[0])
		case control&commandFragment == 0:
			return malformed("data where a command should be")
		case c.complete:
			return malformed("more after the end of the command")
		case len(c.set)+len(value) > commandMost:
			return malformed("a command of more than %d bytes", commandMost)
		default:
			c.set = append(c.set, value[2:]...)
			c.complete = control&lastFragment != 0
		}
	}
	return nil
}

// response is what C-ECHO-RSP says (PS3.7 9.3.5.2).
type response struct {
	status  uint16 // 0: success
	comment string
}

// parse reads the answer to request id.
func (c *command) parse(id uint16) (response, error) {
	var r response
	values := map[uint16]uint16{}
	for b := c.set; len(b) > 0; {
		if len(b) < 8 {
			return r, malformed("an element ends within its head")
		}
		group, number := binary.LittleEndian.Uint16(b), binary.LittleEndian.Uint16(b[2:])
		size := binary.LittleEndian.Uint32(b[4:])
		if group != 0 || uint64(size) > uint64(len(b)-8) {
			return r, malformed("element (%04x,%04x) of %d bytes is none of a command", group, number, size)
		}
		value := b[8 : 8+size]
		b = b[8+size:]
		if len(value) == 2 {
			values[number] = binary.LittleEndian.Uint16(value)
		}
		if number == errorComment {
			r.comment = text(value)
		}
	}
	switch field, ok := values[commandField]; {
	case !ok || field != echoRSP:
		return r, malformed("command %#04x instead of the answer to an echo", field)
	case values[respondedTo] != id:
		return r, malformed("an answer to message %d, we sent %d", values[respondedTo], id)
	}
	s, ok := values[status]
	if !ok {
		return r, malformed("an answer without a status")
	}
	r.status = s
	return r, nil
}

// explain puts a status in words (PS3.7 9.1.5.1.4 and C.4).
func (r response) explain() string {
	known := map[uint16]string{
		0x0122: "it does not support Verification",
		0x0124: "it does not authorise us",
		0x0210: "it says that the invocation is a duplicate",
		0x0211: "it does not know the operation",
		0x0212: "it says that an argument is mistyped",
	}
	s := fmt.Sprintf("status %04x", r.status)
	if k, ok := known[r.status]; ok {
		s += ": " + k
	}
	if r.comment != "" {
		s += fmt.Sprintf(" (%s)", r.comment)
	}
	return s
}
