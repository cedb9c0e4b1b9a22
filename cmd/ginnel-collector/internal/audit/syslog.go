package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"

	"github.com/ginnel/ginnel/cmd/ginnel-collector/internal/store"
)

// priority of our messages: facility 13, "log audit", severity 5, "notice: a
// normal but significant condition" (RFC 5424, 6.2.1).
const priority = 13*8 + 5

// maxDatagram is how long a message is over UDP and the local socket: what
// every receiver should take (RFC 5426, 3.2; RFC 5424, 6.1). Old and new are
// left out of one that would be longer; the file and the store have them.
const maxDatagram = 2048

// localSocket is where the system's own syslog listens.
const localSocket = "/dev/log"

// syslog speaks RFC 5424: Go's log/syslog speaks the older RFC 3164, whose time
// has neither a year nor a zone.
type syslog struct {
	where            string
	network, address string
	hostname, pid    string
	conn             net.Conn // nil: not connected
}

// Syslog is a sink that sends each act as one message of RFC 5424, its text
// being a line of JSON in ASCII. where is "local", "udp://HOST:PORT" or
// "tcp://HOST:PORT". Neither says that a message arrived, so those that were on
// their way when a connection broke may be lost there; the store has them.
func Syslog(where string) (Sink, error) {
	s := &syslog{where: where, hostname: header(hostname(), 255), pid: strconv.Itoa(os.Getpid())}
	if where == "local" {
		s.network, s.address = "unixgram", localSocket
		return s, nil
	}
	u, err := url.Parse(where)
	if err != nil || (u.Scheme != "udp" && u.Scheme != "tcp") || u.Hostname() == "" || u.Port() == "" || u.Path != "" {
		return nil, fmt.Errorf("syslog %q is not local, udp://HOST:PORT or tcp://HOST:PORT", where)
	}
	s.network, s.address = u.Scheme, u.Host
	return s, nil
}

func hostname() string {
	name, err := os.Hostname()
	if err != nil {
		return ""
	}
	return name
}

func (s *syslog) Name() string { return "syslog " + s.where }

func (s *syslog) Send(ctx context.Context, events []store.Event) error {
	for _, e := range events {
		m, err := s.message(e)
		if err == nil {
			err = s.write(ctx, m)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// write sends one message, and connects first where it must.
func (s *syslog) write(ctx context.Context, m []byte) error {
	if s.conn == nil {
		d := net.Dialer{Timeout: 10 * time.Second}
		c, err := d.DialContext(ctx, s.network, s.address)
		if err != nil {
			return err
		}
		s.conn = c
	}
	if s.network == "tcp" { // octet counting: RFC 6587, 3.4.1
		m = append([]byte(strconv.Itoa(len(m))+" "), m...)
	}
	err := s.conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
	if err == nil {
		_, err = s.conn.Write(m)
	}
	if err != nil {
		s.conn.Close()
		s.conn = nil
	}
	return err
}

// message is one message (RFC 5424, 6): header, no structured data (that would
// need a number from IANA), and the act.
func (s *syslog) message(e store.Event) ([]byte, error) {
	act := ActOf(e)
	body, err := json.Marshal(act)
	if err != nil {
		return nil, err
	}
	// TIMESTAMP has at most six digits of a second (6.2.3).
	head := fmt.Sprintf("<%d>1 %s %s ginnel-collector %s %s - ", priority,
		e.At.UTC().Format("2006-01-02T15:04:05.000000Z07:00"), s.hostname, s.pid, header(e.Act, 32))
	text := ascii(body)
	if s.network != "tcp" && len(head)+len(text) > maxDatagram {
		act.Old, act.New, act.Detail = "", "", "left out: too long for syslog"
		if body, err = json.Marshal(act); err != nil {
			return nil, err
		}
		text = ascii(body)
	}
	return append([]byte(head), text...), nil
}

// header is a field of the header: printable ASCII without spaces, "-" for
// nothing (6.2.4 to 6.2.7).
func header(s string, most int) string {
	clean := strings.Map(func(r rune) rune {
		if r == ' ' {
			return '_'
		}
		if r < '!' || r > '~' {
			return -1
		}
		return r
	}, s)
	if clean == "" {
		return "-"
	}
	return clean[:min(len(clean), most)]
}

// ascii writes JSON without any byte above 127, so that the text needs no byte
// order mark to say that it is UTF-8 (6.4).
func ascii(raw []byte) []byte {
	out := make([]byte, 0, len(raw))
	for _, r := range string(raw) {
		switch {
		case r < 0x80:
			out = append(out, byte(r))
		case r < 0x10000:
			out = fmt.Appendf(out, `\u%04x`, r)
		default:
			a, b := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, a, b)
		}
	}
	return out
}
