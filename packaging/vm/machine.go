package vm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// bootTime is how long a boot may take on a busy host in software emulation.
const bootTime = 15 * time.Minute

// Machine is one that runs.
type Machine struct {
	dir  string // its disks' copies and console; removed by Close
	cmd  *exec.Cmd
	done chan struct{} // closed when qemu has ended
	conn net.Conn

	mu      sync.Mutex
	boot    string
	booted  chan struct{} // closed at the next hello, and then made anew
	waiting map[int]chan reply
	last    int
}

type request struct {
	ID      int    `json:"id"`
	Script  string `json:"script"`
	Seconds int    `json:"seconds"`
}

type reply struct {
	ID   int    `json:"id"`
	Out  string `json:"out"`
	Code int    `json:"code"`
}

// Failed is a script that ended with another code than 0.
type Failed struct {
	Script, Out string
	Code        int
}

func (f *Failed) Error() string {
	return fmt.Sprintf("exit %d of:\n%s\nwhich printed:\n%s", f.Code, f.Script, f.Out)
}

// Boot starts a machine, whose /lab is a copy of the folder lab with the hand
// in it, and waits until it takes scripts. Close ends it. words are added to the
// kernel's command line.
func Boot(ctx context.Context, image Image, lab string, words ...string) (*Machine, error) {
	dir, err := os.MkdirTemp("", "ginnel-vm-")
	if err != nil {
		return nil, err
	}
	m := &Machine{dir: dir, done: make(chan struct{}), booted: make(chan struct{}), waiting: map[int]chan reply{}}
	if err := m.start(ctx, image, lab, words); err != nil {
		m.Close()
		return nil, err
	}
	if err := m.await(ctx, ""); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

func (m *Machine) start(ctx context.Context, image Image, lab string, words []string) error {
	disk := filepath.Join(m.dir, "lab.img")
	if err := labDisk(ctx, lab, disk); err != nil {
		return err
	}
	port := filepath.Join(m.dir, "port")
	// One processor: emulated side by side, two ran into each other inside the
	// kernel's WireGuard and never came out (both in netif_receive_skb_list_internal).
	m.cmd = exec.Command("qemu-system-x86_64", "-accel", "tcg", "-cpu", "max", "-smp", "1", "-m", "1024",
		"-nodefaults", "-display", "none", "-nic", "none", "-serial", "file:"+filepath.Join(m.dir, "console"),
		"-kernel", image.Kernel, "-initrd", image.Initrd,
		"-append", strings.Join(append([]string{"root=/dev/vda rw console=ttyS0 net.ifnames=0 mitigations=off loglevel=4 systemd.show_status=0"}, words...), " "),
		"-drive", "file="+image.Disk+",format=raw,if=virtio,snapshot=on,cache=unsafe",
		"-drive", "file="+disk+",format=raw,if=virtio,readonly=on",
		"-object", "rng-random,filename=/dev/urandom,id=rng", "-device", "virtio-rng-pci,rng=rng",
		"-device", "virtio-serial-pci", "-chardev", "socket,id=hand,server=on,wait=off,path="+port,
		"-device", "virtserialport,chardev=hand,name=ginnel")
	m.cmd.Env = append(os.Environ(), "TMPDIR="+m.dir)
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	said, err := os.Create(filepath.Join(m.dir, "qemu"))
	if err != nil {
		return err
	}
	defer said.Close()
	m.cmd.Stdout, m.cmd.Stderr = said, said
	started := make(chan error, 1)
	go m.hold(started)
	if err := <-started; err != nil {
		return fmt.Errorf("start qemu: %w", err)
	}
	if m.conn, err = m.dial(ctx, port); err != nil {
		return err
	}
	go m.listen()
	return nil
}

// hold starts qemu and waits for its end on one thread: the death of the thread
// that started it would end it.
func (m *Machine) hold(started chan<- error) {
	runtime.LockOSThread()
	err := m.cmd.Start()
	started <- err
	if err == nil {
		m.cmd.Wait()
	}
	close(m.done)
}

func (m *Machine) dial(ctx context.Context, port string) (net.Conn, error) {
	for {
		conn, err := net.Dial("unix", port)
		if err == nil {
			return conn, nil
		}
		select {
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		case <-m.done:
			text, _ := os.ReadFile(filepath.Join(m.dir, "qemu"))
			return nil, fmt.Errorf("qemu ended at once: %s", text)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// labDisk packs the hand and the folder lab into an ext4 file, without mounting.
func labDisk(ctx context.Context, lab, disk string) error {
	hand := filepath.Join(lab, "hand")
	build := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", hand, "github.com/ginnel/ginnel/packaging/vm/hand")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOARCH=amd64")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the hand: %w\n%s", err, out)
	}
	out, err := exec.CommandContext(ctx, "mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-d", lab, disk, "512M").CombinedOutput()
	if err != nil {
		return fmt.Errorf("make the second disk: %w\n%s", err, out)
	}
	return nil
}

// listen takes what the hand says until the machine ends.
func (m *Machine) listen() {
	dec := json.NewDecoder(m.conn)
	for {
		var r reply
		if err := dec.Decode(&r); err != nil {
			return
		}
		m.mu.Lock()
		if r.ID == 0 {
			m.boot = r.Out
			close(m.booted)
			m.booted = make(chan struct{})
		} else if ch, ok := m.waiting[r.ID]; ok {
			delete(m.waiting, r.ID)
			ch <- r
		}
		m.mu.Unlock()
	}
}

// await waits for the hello of another boot than before.
func (m *Machine) await(ctx context.Context, before string) error {
	limit := time.After(bootTime)
	for {
		m.mu.Lock()
		boot, next := m.boot, m.booted
		m.mu.Unlock()
		if boot != before {
			return nil
		}
		select {
		case <-next:
		case <-m.done:
			return errors.New("the machine ended while it booted")
		case <-limit:
			return fmt.Errorf("the machine was not up after %v; its console:\n%s", bootTime, m.Console())
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Run runs a script by sh, as root, and gives what it printed. The error is a
// *Failed where it ended with another code than 0. It may run for limit.
func (m *Machine) Run(ctx context.Context, limit time.Duration, script string) (string, error) {
	ch := make(chan reply, 1)
	m.mu.Lock()
	m.last++
	r := request{ID: m.last, Script: script, Seconds: int(limit.Seconds())}
	m.waiting[r.ID] = ch
	text, err := json.Marshal(r)
	if err == nil {
		_, err = m.conn.Write(append(text, '\n'))
	}
	m.mu.Unlock()
	if err != nil {
		return "", err
	}
	select {
	case got := <-ch:
		if got.Code != 0 {
			return got.Out, &Failed{script, got.Out, got.Code}
		}
		return got.Out, nil
	case <-time.After(limit + 30*time.Second):
		return "", fmt.Errorf("no answer to:\n%s\nthe console:\n%s", script, m.Console())
	case <-m.done:
		return "", errors.New("the machine has ended")
	case <-ctx.Done():
		return "", context.Cause(ctx)
	}
}

// Reboot restarts the machine as a person would, and waits for it.
func (m *Machine) Reboot(ctx context.Context) error {
	m.mu.Lock()
	before := m.boot
	m.mu.Unlock()
	if _, err := m.Run(ctx, time.Minute, "systemctl --no-block reboot"); err != nil {
		return err
	}
	return m.await(ctx, before)
}

// Console is the end of what the machine printed by itself.
func (m *Machine) Console() string {
	text, err := os.ReadFile(filepath.Join(m.dir, "console"))
	if err != nil {
		return err.Error()
	}
	return tail(string(text), 40)
}

// Close ends the machine and removes its files.
func (m *Machine) Close() error {
	if m.conn != nil {
		m.conn.Close()
	}
	if m.cmd != nil && m.cmd.Process != nil {
		m.cmd.Process.Kill()
		<-m.done
	}
	return os.RemoveAll(m.dir)
}
