package county

import (
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"time"
)

// What stands for a clinical system in the lab answers by rote; the kinds' own
// tests ask real ones.

// dicomAnswers are those of a node to what an echo sends, by type of PDU: to
// A-ASSOCIATE-RQ, P-DATA-TF with message 1, and A-RELEASE-RQ (PS3.8 9.3).
var dicomAnswers = map[byte][]byte{
	0x01: pdu(0x02, append(make([]byte, 68),
		append(item(0x21, append([]byte{1, 0, 0, 0}, item(0x40, []byte("1.2.840.10008.1.2"))...)),
			item(0x50, item(0x55, []byte("LAB_1")))...)...)),
	0x04: pdu(0x04, []byte{0, 0, 0, 32, 1, 3,
		0, 0, 0, 1, 2, 0, 0, 0, 0x30, 0x80, // command field: C-ECHO-RSP
		0, 0, 0x20, 1, 2, 0, 0, 0, 1, 0, // to message 1
		0, 0, 0, 9, 2, 0, 0, 0, 0, 0, // status: success
	}),
	0x05: pdu(0x06, make([]byte, 4)),
}

func pdu(kind byte, body []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{kind, 0}, uint32(len(body))), body...)
}

func item(kind byte, content []byte) []byte {
	return append(binary.BigEndian.AppendUint16([]byte{kind, 0}, uint16(len(content))), content...)
}

// answerDICOM serves until l is closed.
func answerDICOM(l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer conn.Close()
			head := make([]byte, 6)
			for {
				if _, err := io.ReadFull(conn, head); err != nil {
					return
				}
				size := int64(binary.BigEndian.Uint32(head[2:]))
				if _, err := io.CopyN(io.Discard, conn, min(size, 1<<16)); err != nil {
					return
				}
				if _, err := conn.Write(dicomAnswers[head[0]]); err != nil {
					return
				}
			}
		}()
	}
}

func answerFHIR(w http.ResponseWriter, _ *http.Request) {
	io.WriteString(w, `{"resourceType":"CapabilityStatement","fhirVersion":"4.0.1","software":{"name":"lab","version":"1"}}`)
}

// answerNTP serves the time of this host as a server at stratum 2 does (RFC 5905
// 7.3), until c is closed.
func answerNTP(c net.PacketConn) {
	buf := make([]byte, 128)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return
		}
		if n < 48 {
			continue
		}
		now := ntpTime(time.Now())
		b := make([]byte, 48)
		b[0], b[1], b[2], b[3] = 0x24, 2, buf[2], 0xec
		copy(b[12:], []byte{192, 0, 2, 123}) // who it has it from
		binary.BigEndian.PutUint64(b[16:], now-1<<32)
		copy(b[24:32], buf[40:48])
		binary.BigEndian.PutUint64(b[32:], now)
		binary.BigEndian.PutUint64(b[40:], ntpTime(time.Now()))
		_, _ = c.WriteTo(b, from)
	}
}

// ntpTime is seconds since 1900 and their fraction (RFC 5905 6).
func ntpTime(t time.Time) uint64 {
	const epochs = 2208988800 // from 1900 to 1970
	return uint64(t.Unix()+epochs)<<32 | uint64(t.Nanosecond())<<32/uint64(time.Second)
}
