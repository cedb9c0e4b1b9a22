package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/ginnel/ginnel/agent/config"
	"github.com/ginnel/ginnel/agent/trial"
	"github.com/ginnel/ginnel/agent/trust"
	"github.com/ginnel/ginnel/tunnels/key"
)

// Paths are where a gateway keeps its files. Etc belongs to root; Var belongs
// to the agent, its only writer; Run goes with a reboot.
type Paths struct{ Etc, Var, Run string }

// DefaultPaths are the paths of an installed gateway, below root, which is "/"
// but for tests.
func DefaultPaths(root string) Paths {
	return Paths{
		Etc: filepath.Join(root, "/etc/ginnel"),
		Var: filepath.Join(root, "/var/lib/ginnel"),
		Run: filepath.Join(root, "/run/ginnel"),
	}
}

// Desired is the config of a gateway without a collector.
func (p Paths) Desired() string { return filepath.Join(p.Etc, "desired.toml") }

// Host is what belongs to this machine only.
func (p Paths) Host() string { return filepath.Join(p.Etc, "ginnel.toml") }

// ChecksD is where programs are offered as checks.
func (p Paths) ChecksD() string { return filepath.Join(p.Etc, "checks.d") }

// LastGood is the config that ran last; the guard reads it at boot.
func (p Paths) LastGood() string { return filepath.Join(p.Var, "last-good.toml") }

// Trial is the folder of the trial's journal and of the config before the last
// good one.
func (p Paths) Trial() string { return filepath.Join(p.Var, "trial") }

// Journal is the trial's journal.
func (p Paths) Journal() trial.Journal {
	return trial.Journal{Dir: p.Trial(), LastGood: p.LastGood()}
}

// Boots is the config that runs at a start, signed or by hand, less what is shut
// out. The error is fs.ErrNotExist where none has run yet.
func (p Paths) Boots() (*config.Config, error) {
	text, _, err := p.Journal().Boots(bootID())
	if text == nil && err == nil {
		err = fmt.Errorf("%s: %w", p.LastGood(), fs.ErrNotExist)
	}
	if text == nil {
		return nil, err
	}
	c, err := config.Parse(p.LastGood(), text)
	if err != nil {
		return nil, err
	}
	believed, err := trust.Open(p.Trust(), nil)
	if err != nil {
		return c, nil // the agent says what is wrong with it
	}
	return believed.Apply(c), nil
}

// Identity is the folder of the device key and its certificate.
func (p Paths) Identity() string { return filepath.Join(p.Var, "identity") }

// Trust is the folder of whom and what the gateway believes.
func (p Paths) Trust() string { return filepath.Join(p.Var, "trust") }

// Spool is the folder of blocks.
func (p Paths) Spool() string { return filepath.Join(p.Var, "spool") }

// Evidence is the folder of what was seen when something broke.
func (p Paths) Evidence() string { return filepath.Join(p.Var, "evidence") }

// Settings remembers sysctls as they were before us.
func (p Paths) Settings() string { return filepath.Join(p.Var, "sysctls.json") }

// States remembers what the status showed last.
func (p Paths) States() string { return filepath.Join(p.Var, "states.json") }

// Names remembers the addresses of endpoint names.
func (p Paths) Names() string { return filepath.Join(p.Var, "names.json") }

// Floor remembers the newest time that has certainly been.
func (p Paths) Floor() string { return filepath.Join(p.Var, "clock-floor") }

// Socket is where commands ask the agent.
func (p Paths) Socket() string { return filepath.Join(p.Run, "agent.sock") }

// DataplaneSocket is where the service manager starts data planes.
func (p Paths) DataplaneSocket() string { return filepath.Join(p.Run, "dataplane.sock") }

// CheckSocket is where the service manager starts programs of checks.
func (p Paths) CheckSocket() string { return filepath.Join(p.Run, "check.sock") }

// key is the private key of a network.
func (p Paths) key(network string) string {
	return filepath.Join(p.Var, "keys", network+".key")
}

// Key gives the private key of a network, made on first use. Its file belongs
// to whoever owns Var, so that a key made by root is the service's.
func (p Paths) Key(network string) (key.Private, error) {
	dir := filepath.Dir(p.key(network))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return key.Private{}, fmt.Errorf("make the folder for keys: %w", err)
	}
	k, created, err := key.LoadOrCreate(p.key(network))
	if err != nil {
		return key.Private{}, fmt.Errorf("key of network %s: %w", network, err)
	}
	if created {
		if err := p.GiveAway(dir, p.key(network)); err != nil {
			return key.Private{}, err
		}
	}
	return k, nil
}

// publicKey is the public half of Key.
func (p Paths) publicKey(network string) (key.Public, error) {
	k, err := p.Key(network)
	return k.Public(), err
}

// bootID is the kernel's, another one after each boot; empty: not known.
func bootID() string {
	id, _ := os.ReadFile("/proc/sys/kernel/random/boot_id") // without, no copy of this disk can be seen
	return strings.TrimSpace(string(id))
}

// ExistingKey gives the private key of a network without making one. The error
// is fs.ErrNotExist where there is none.
func (p Paths) ExistingKey(network string) (key.Private, error) {
	return key.Load(p.key(network))
}

// GiveAway has files, and what is in folders, belong to the owner of Var, where we are root.
func (p Paths) GiveAway(files ...string) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := os.Stat(p.Var)
	if err != nil {
		return fmt.Errorf("find who owns %s: %w", p.Var, err)
	}
	owner := info.Sys().(*syscall.Stat_t)
	for _, file := range files {
		err := filepath.WalkDir(file, func(path string, _ fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Lchown(path, int(owner.Uid), int(owner.Gid))
		})
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("give %s to the service: %w", file, err)
		}
	}
	return nil
}
