package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestReadme takes an author's way through checks/README.md, literally: its
// commands are run and its files written, in their order. Only the places
// differ: the module comes from this tree, and what belongs to root is below a
// folder of the test.
func TestReadme(t *testing.T) {
	text, err := os.ReadFile("../../checks/README.md")
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", bin+"/ginnel", ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	door(t, "127.0.0.1:2525", "220 door.example.net\r\n")
	door(t, "127.0.0.1:2526", "")
	for _, language := range []string{"go", "python"} {
		t.Run(language, func(t *testing.T) {
			a := author{t: t, dir: t.TempDir(), root: t.TempDir(), bin: bin}
			a.follow(string(text), language)
		})
	}
}

// author follows a text.
type author struct {
	t              *testing.T
	dir, root, bin string
	said           strings.Builder
}

var told = regexp.MustCompile("(?s)<!-- follow: (\\w+)( root)?(?: file (\\S+))? -->\n```\\w+\n(.*?)```\n")

func (a *author) follow(text, language string) {
	steps := 0
	for _, m := range told.FindAllStringSubmatch(text, -1) {
		if m[1] != language || m[2] != "" && os.Getuid() != 0 { // offers belong to root
			continue
		}
		steps++
		if m[3] == "" {
			a.run(m[4])
		} else if err := os.WriteFile(filepath.Join(a.dir, m[3]), []byte(m[4]), 0o644); err != nil {
			a.t.Fatal(err)
		}
	}
	said := strings.Join(strings.Fields(a.said.String()), " ")
	for _, want := range []string{"kind door: connects to address:port by TCP and expects a line", "ok good target", "ok refusing target",
		"ok silent target obeys the deadline", "ok silent target obeys cancel", "ok leaves nothing open"} {
		if !strings.Contains(said, want) {
			a.t.Errorf("nowhere %q", want)
		}
	}
	if language == "go" && os.Getuid() == 0 && !strings.Contains(said, "ginnel-check-door: running; no systemd runs it") {
		a.t.Error("the list does not show it")
	}
	if steps < 3 || strings.Contains(said, "FAIL") {
		a.t.Errorf("%d steps:\n%s", steps, said)
	}
}

// run runs the commands of one block, and goes on in the folder where they end.
func (a *author) run(commands string) {
	a.t.Helper()
	tree, err := filepath.Abs("../..")
	if err != nil {
		a.t.Fatal(err)
	}
	commands = strings.NewReplacer("/etc/ginnel", a.root+"/etc/ginnel", "/usr/local/libexec", a.root+"/libexec",
		"go get ", "go mod edit -require=github.com/ginnel/ginnel@v0.0.0 -replace=github.com/ginnel/ginnel="+tree+"\ncp "+tree+"/go.sum .\ngo get ",
		"cp checks.proto", "cp "+tree+"/checks/plugin/proto/checks.proto").Replace(commands)
	if err := os.MkdirAll(a.root+"/etc/ginnel/checks.d", 0o755); err != nil {
		a.t.Fatal(err)
	}
	cmd := exec.Command("sh", "-ec", commands+"\npwd >"+a.root+"/pwd\n")
	cmd.Dir = a.dir
	cmd.Env = append(os.Environ(), "PATH="+a.bin+":"+os.Getenv("PATH"), "GINNEL_ROOT="+a.root, "GOFLAGS=-mod=mod", "GOPROXY=off", "GOWORK=off")
	out, err := cmd.CombinedOutput()
	a.said.Write(out)
	if err != nil {
		a.t.Fatalf("%s\n%v\n%s", commands, err, out)
	}
	where, err := os.ReadFile(a.root + "/pwd")
	if err != nil {
		a.t.Fatal(err)
	}
	a.dir = strings.TrimSpace(string(where))
}

// door says a line to whoever connects, or nothing.
func door(t *testing.T, address, says string) {
	t.Helper()
	l, err := net.Listen("tcp", address)
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
				fmt.Fprint(c, says)
				io.Copy(io.Discard, c)
			}()
		}
	}()
}
