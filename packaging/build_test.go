package packaging_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func build(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	cmd := exec.Command("packaging/build.sh", dir, "amd64")
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "VERSION=1.2.3", "SOURCE_DATE_EPOCH=1767225600")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

func output(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}

func TestPackagesAreTheSameTwice(t *testing.T) {
	one, two := build(t), build(t)
	names, err := os.ReadDir(one)
	if err != nil || len(names) != 8 {
		t.Fatalf("%d packages, %v", len(names), err)
	}
	for _, n := range names {
		a, _ := os.ReadFile(filepath.Join(one, n.Name()))
		b, _ := os.ReadFile(filepath.Join(two, n.Name()))
		if len(a) == 0 || !bytes.Equal(a, b) {
			t.Errorf("%s differs from one build to the next", n.Name())
		}
	}
	t.Run("what the deb holds", func(t *testing.T) { holds(t, filepath.Join(one, "ginnel_1.2.3_amd64.deb")) })
}

func holds(t *testing.T, deb string) {
	list := output(t, "dpkg-deb", "-c", deb)
	for _, want := range []string{
		"-rwxr-xr-x root/root", " ./usr/bin/ginnel\n", " ./usr/lib/ginnel/ginnel-dataplane\n",
		" ./usr/lib/systemd/system/ginnel.service\n", " ./usr/lib/sysusers.d/ginnel.conf\n",
		"drwxr-xr-x root/root         0 2026-01-01 00:00 ./etc/ginnel/\n", " ./usr/share/man/man1/ginnel.1.gz\n",
	} {
		if !strings.Contains(list, want) {
			t.Errorf("no %q in\n%s", want, list)
		}
	}
	folder := t.TempDir()
	output(t, "dpkg-deb", "-e", deb, folder)
	for name, want := range map[string]string{
		"conffiles": "/etc/ginnel/ginnel.toml\n",
		"control":   "Version: 1.2.3\n",
		"postinst":  "#!/bin/sh\n", "prerm": "#!/bin/sh\n", "postrm": "#!/bin/sh\n",
	} {
		text, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%s has no %q: %v\n%s", name, want, err, text)
		}
	}
	control, _ := os.ReadFile(filepath.Join(folder, "control"))
	if strings.Contains(string(control), "libc6") {
		t.Error("it depends on more than systemd: it could not be installed offline")
	}
	output(t, "dpkg-deb", "-x", deb, folder)
	if got := output(t, filepath.Join(folder, "usr/bin/ginnel"), "version"); got != "ginnel 1.2.3\n" {
		t.Errorf("it says %q", got)
	}
}

// What the commands' own help lists is in the man page and in the completion.
func TestCommandsAreDocumented(t *testing.T) {
	for _, program := range []string{"ginnel", "ginnelctl", "ginnel-collector"} {
		page, err := os.ReadFile("man/" + program + ".1")
		if err != nil {
			t.Fatal(err)
		}
		completion, err := os.ReadFile("completion/" + program)
		if err != nil && program != "ginnel-collector" {
			t.Fatal(err)
		}
		for line := range strings.Lines(output(t, "go", "run", "../cmd/"+program, "help")) {
			if !strings.HasPrefix(line, "  ") || strings.HasPrefix(line, "   ") {
				continue // a heading, or the rest of the line before
			}
			name := command(line)
			if !strings.Contains(string(page), "\n.It Ic "+name+" ") && !strings.Contains(string(page), "\n.It Ic "+name+"\n") {
				t.Errorf("%s %s is not in man/%s.1", program, name, program)
			}
			for word := range strings.FieldsSeq(name) {
				if program != "ginnel-collector" && !strings.Contains(string(completion), word) {
					t.Errorf("%s is not completed", word)
				}
			}
		}
	}
}

// command is the name in a line of help: its first words in small letters.
func command(line string) string {
	words := strings.Fields(line)
	two := words[:min(2, len(words))]
	switch words[0] {
	case "config", "check", "site", "keys", "rollout":
		return strings.Join(two, " ")
	}
	return words[0]
}
