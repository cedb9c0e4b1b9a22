package reach

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// TestInWords has net/http read answers that are none, over a socket: what it says of
// them is not ours to choose, and may be another with the next Go.
func TestInWords(t *testing.T) {
	for answer, want := range map[string]string{
		"garbage\r\n\r\n":              `the answer is not HTTP, as in "garbage"`,
		"HTTP/1.1 abc OK\r\n\r\n":      `the answer is not HTTP, as in "abc"`,
		"HTTP/9.x 200 OK\r\n\r\n":      `the answer is not HTTP, as in "HTTP/9.x"`,
		strings.Repeat("x", 60) + "\n": `the answer is not HTTP, as in "` + strings.Repeat("x", shown) + `..."`,
		"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 9000) + "\r\n\r\n": "headers of more than 4096 bytes",
		"": "EOF",
	} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			c.Read(make([]byte, 1024))
			io.WriteString(c, answer)
		}()
		client := http.Client{Transport: &http.Transport{MaxResponseHeaderBytes: 4096, DisableKeepAlives: true}}
		response, err := client.Get("http://" + l.Addr().String())
		if err == nil {
			response.Body.Close()
			t.Fatalf("%.20q was taken", answer)
		}
		if e, ok := errors.AsType[*url.Error](err); ok {
			err = e.Err
		}
		if got := InWords(err).Error(); got != want {
			t.Errorf("%.20q: %q, want %q", answer, got, want)
		}
		l.Close()
	}
	if got := InWords(fmt.Errorf("net/http: HTTP/1.x transport connection broken: %w", io.ErrUnexpectedEOF)); got.Error() != io.ErrUnexpectedEOF.Error() {
		t.Errorf("got %v", got)
	}
}
