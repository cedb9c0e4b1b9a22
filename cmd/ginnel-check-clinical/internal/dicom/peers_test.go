package dicom

import (
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"
)

// The peers that the tests start are others' programs, from Debian: `make needs`
// installs them.

// storescp is DCMTK's, whose title is whatever it is called.
func storescp(t *testing.T, args ...string) string {
	t.Helper()
	port := freePort(t)
	start(t, port, "storescp", append(args, strconv.Itoa(port))...)
	return loopback(port)
}

// orthanc is a whole PACS, called ORTHANC, that knows nobody.
func orthanc(t *testing.T) string {
	t.Helper()
	dir, port := t.TempDir(), freePort(t)
	text, err := json.Marshal(map[string]any{
		"StorageDirectory": dir, "IndexDirectory": dir, "HttpServerEnabled": false, "Plugins": []string{},
		"DicomAet": "ORTHANC", "DicomPort": port, "DicomCheckCalledAet": true, "DicomAlwaysAllowEcho": false,
		"DicomModalities": map[string]any{"known": []any{"GINNEL", "127.0.0.1", 104}},
	})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "orthanc.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	start(t, port, "Orthanc", file)
	return loopback(port)
}

// start runs a program until the test ends, and waits until it listens.
func start(t *testing.T, port int, name string, args ...string) {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("%v: make needs installs it", err)
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = t.TempDir()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	for begin := time.Now(); time.Since(begin) < time.Minute; time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", loopback(port)); err == nil {
			c.Close()
			return
		}
	}
	t.Fatalf("%s does not listen", name)
}

func loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// scripted answers each PDU with the next of answers, and then says nothing
// more. A nil answer is silence; one that starts with hangUp closes.
func scripted(t *testing.T, answers ...[]byte) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for _, a := range answers {
					if _, err := readPDU(c); err != nil {
						return
					}
					if string(a) == hangUp {
						return
					}
					c.Write(a)
				}
				c.Read(make([]byte, 1<<10))
				c.Read(make([]byte, 1))
			}()
		}
	}()
	return l.Addr().String()
}

const hangUp = "hang up"
