package plugin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// parcels sends and receives lines of JSON, with open files, over a Unix socket.
type parcels struct {
	*net.UnixConn
	sending sync.Mutex
	rest    []byte
}

const (
	parcelMost = 64 << 10 // bytes of a line
	filesMost  = 4        // that come with one
)

func newParcels(c *net.UnixConn) *parcels { return &parcels{UnixConn: c} }

// send writes v and lets the other side have the files.
func (p *parcels) send(v any, files ...*os.File) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var rights []byte
	if len(files) > 0 {
		fds := make([]int, len(files))
		for i, f := range files {
			fds[i] = int(f.Fd())
		}
		rights = unix.UnixRights(fds...)
	}
	p.sending.Lock()
	defer p.sending.Unlock()
	_, _, err = p.WriteMsgUnix(append(line, '\n'), rights, nil)
	return err
}

// receive reads a line into v, and the files that came with it.
func (p *parcels) receive(v any) (files []*os.File, err error) {
	defer func() {
		if err != nil {
			closeFiles(&files)
		}
	}()
	buf, oob := make([]byte, 4096), make([]byte, unix.CmsgSpace(filesMost*4))
	for {
		if i := bytes.IndexByte(p.rest, '\n'); i >= 0 {
			line := p.rest[:i]
			p.rest = append([]byte(nil), p.rest[i+1:]...)
			return files, json.Unmarshal(line, v)
		}
		if len(p.rest) > parcelMost {
			return files, fmt.Errorf("a line of more than %d bytes", parcelMost)
		}
		n, oobn, flags, _, err := p.ReadMsgUnix(buf, oob)
		more, broken := rightsOf(oob[:oobn])
		files = append(files, more...)
		if err = errors.Join(err, broken); err != nil {
			return files, err
		}
		if flags&unix.MSG_CTRUNC != 0 || len(files) > filesMost {
			return files, errors.New("too many files at once")
		}
		if n == 0 {
			return files, net.ErrClosed
		}
		p.rest = append(p.rest, buf[:n]...)
	}
}

// rightsOf takes the files of a control message over.
func rightsOf(oob []byte) (files []*os.File, err error) {
	messages, err := unix.ParseSocketControlMessage(oob)
	for _, m := range messages {
		fds, e := unix.ParseUnixRights(&m)
		if e != nil {
			continue // something else
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "passed"))
		}
	}
	return files, err
}
