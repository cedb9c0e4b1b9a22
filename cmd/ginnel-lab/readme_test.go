package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What in the operators' README waits for people; the rest is done as it is printed.
const (
	lessWaiting = `sed -i 's/within = "3m"/within = "5s"/' fleet.toml`
	firstSed    = "sed -i -e '/^window/d'"
)

// readmeStory does, word for word, what cmd/ginnelctl/README.md tells of a fleet's
// life: the desk's commands beside a real collector, and each `ginnel enrol` at a
// real gateway, in a county in which nothing has been set up.
func (l lab) readmeStory(t *testing.T) {
	l.up(t)
	s := &storyteller{lab: l, home: t.TempDir()}
	s.settle(t)
	for _, line := range storyLines(t) {
		if pack, ok := strings.CutPrefix(line, "sudo ginnel enrol "); ok {
			s.enrol(t, pack)
			continue
		}
		if file, ok := strings.CutPrefix(line, "sudo ginnel apply "); ok {
			s.at(t, 0, strings.TrimSuffix(file, ".bundle"), "ginnel apply "+file)
			s.at(t, 0, "collector", "until ginnelctl rollout status | grep -q '^done'; do sleep 0.1; done")
			continue
		}
		if dir, ok := strings.CutPrefix(line, "cd "); ok {
			s.dir = dir
			continue
		}
		s.do(t, line)
		if strings.HasPrefix(line, firstSed) {
			s.do(t, lessWaiting)
		}
	}
	for _, want := range []string{"  + kestrel, lan 192.168.10.0/24 ", "  ~ peers: + fulmar-1 ", "avocet-1   failed, and went back: records was good and is dead",
		"rollout 3, ", ": taken back", "  + check names on kestrel ", "Approved: 2 rows in keys.csv", "knows of it as rollout 5", "rollout 6 is done", "rollout 7 is done", "enrol fulmar-1", "replaced, job 4471"} {
		if !strings.Contains(s.said, want) {
			t.Errorf("nobody was told %q", want)
		}
	}
	if t.Failed() {
		t.Log(s.said)
	}
}

// storyteller does what the README says, wherever it says so.
type storyteller struct {
	lab
	home, dir string
	said      string // all of it
	broken    bool   // the next push leads to a service that is not there
}

// storyLines are the commands of the README's story.
func storyLines(t *testing.T) (lines []string) {
	t.Helper()
	raw, err := os.ReadFile("../ginnelctl/README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, story, found := strings.Cut(string(raw), "\n## The whole story\n")
	if !found {
		t.Fatal("the README has no story")
	}
	story, _, _ = strings.Cut(story, "\n## ")
	for line := range strings.Lines(story) {
		if command, ok := strings.CutPrefix(line, "    "); ok {
			lines = append(lines, strings.TrimSuffix(command, "\n"))
		}
	}
	return lines
}

// settle gives an operator a home, and starts the collector and the agents.
func (s *storyteller) settle(t *testing.T) {
	t.Helper()
	s.at(t, 0, "collector", `mkdir .ssh; ssh-keygen -q -t ed25519 -N "" -C alice -f .ssh/id_ed25519; ssh-keygen -q -t ed25519 -N "" -C bob -f bob
printf "[user]\nname = Sam\nemail = sam@example.net\n" > .gitconfig`)
	s.start(t, "collector", "ginnel-collector serve --data /run/c --listen-gateways 192.0.2.40:443 --url https://collector.example.net --heartbeat 3s")
	for _, node := range []string{"hub-north", "avocet", "fulmar"} {
		s.start(t, node, "ginnel run")
		s.at(t, 0, node, "until ginnel status 2>&1 | grep -q 'not enrolled'; do sleep 0.1; done")
	}
}

// start leaves a program running at a node; it ends with the county.
func (s *storyteller) start(t *testing.T, node, program string) {
	t.Helper()
	log, err := os.Create(filepath.Join(s.home, node+".log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(s.exe, "exec", node, "--", "sh", "-c", "echo $$ > /run/pid; exec "+program)
	cmd.Env = append(os.Environ(), "GINNEL_LAB_OUT="+s.out)
	cmd.Stdout, cmd.Stderr = log, log
	if err := errors.Join(cmd.Start(), log.Close()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
}

// at runs a line at a node, in the operator's folder, and says yes to what it asks.
func (s *storyteller) at(t *testing.T, want int, node, line string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, s.exe, "exec", node, "--", "sh", "-c", `export HOME="$0"; unset SSH_AUTH_SOCK; cd "$1"; `+line, s.home, filepath.Join(s.home, s.dir))
	cmd.Env = append(os.Environ(), "GINNEL_LAB_OUT="+s.out)
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader("y\n"), &out, &out
	err := cmd.Run()
	s.said += "$ " + line + "\n" + out.String()
	code := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	if code != want {
		t.Fatalf("%s at %s: exit %d, want %d\n%s", line, node, code, want, s.said)
	}
}

// enrol is what a technician does with a pack. One of a gateway that is there is for
// a new machine in its place.
func (s *storyteller) enrol(t *testing.T, pack string) {
	t.Helper()
	node, replaced := strings.CutSuffix(strings.TrimSuffix(pack, ".toml"), "-new")
	if replaced {
		s.at(t, 0, node, "kill $(cat /run/pid); until ginnel cleanup; do sleep 0.1; done; rm -r /var/lib/ginnel/*")
		s.start(t, node, "ginnel run")
		s.at(t, 0, node, "until ginnel status 2>&1 | grep -q 'not enrolled'; do sleep 0.1; done")
	}
	s.at(t, 0, node, "ginnel enrol "+pack)
	s.at(t, 0, "collector", "until ginnelctl keys list | grep -q '"+node+".*kestrel'; do sleep 0.1; done")
}

// do does a command at the desk. What does not end with 0 is said in the README.
func (s *storyteller) do(t *testing.T, line string) {
	t.Helper()
	want := 0
	if strings.Contains(line, "198.51.100.29") {
		s.broken = true
		// What was never good is not missed. Three minutes of watching would do.
		s.at(t, 0, "avocet", `until ginnel status --json | tr -d ' \n' | grep -q '"name":"records"[^}]*"state":"up"'; do sleep 0.2; done`)
	}
	switch {
	case s.broken && (line == "ginnelctl push" || line == "ginnelctl rollout status"):
		want = 3
	case line == "ginnelctl rollout back":
		s.broken = false
	case strings.HasPrefix(line, "ginnelctl plan") && !strings.Contains(s.said, "taken back"):
		want = 2
	}
	s.at(t, want, "collector", line)
}
