package spool

import (
	"bufio"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/checks"
)

var kills = flag.Int("kills", 20, "how often to kill the writer; the full form is 500")

// TestMain is also the process that the tests kill or starve.
func TestMain(m *testing.M) {
	if dir := os.Getenv("SPOOL_TEST_WRITER"); dir != "" {
		writer(dir)
	}
	if dir := os.Getenv("SPOOL_TEST_FULL_DISK"); dir != "" {
		fullDisk(dir)
	}
	os.Exit(m.Run())
}

// quick makes minutes pass fast: 200 times.
func quick() clock {
	real := realClock()
	begin, _ := real()
	return func() (time.Time, time.Duration) {
		wall, mono := real()
		return begin.Add(wall.Sub(begin) * 200), mono * 200
	}
}

// writer writes samples until it is killed. Each sample asks a number of
// questions that is its own name, and it prints the name once the spool has it.
// It goes on where the line that it is given on standard input says, with
// minutes that pass in 0.3 seconds, so that all kinds of writes are hit.
func writer(dir string) {
	in := bufio.NewScanner(os.Stdin)
	in.Scan()
	fields := strings.Fields(in.Text())
	next, _ := strconv.ParseUint(fields[0], 10, 64)
	s, err := open(dir, Options{Gateway: "avocet-1", Boot: "boot-a"}, quick())
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	for ; ; next++ {
		sub := Subject{Class: block.CheckClass, Name: fmt.Sprintf("check-%d", next)}
		if next%50 == 0 {
			err = s.Edge(block.Edge{Class: block.CheckClass, Name: sub.Name, From: checks.UnknownState, To: checks.Up})
		} else {
			err = s.Sample(sub, checks.Result{Verdict: checks.OK, Sent: 1, Received: 1})
		}
		if err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		fmt.Println(next)
		if next%7 == 0 {
			_ = s.tick()
		}
		// each name is its own subject, so that nothing can hide in a sum
		_ = s.Forget(block.CheckClass, sub.Name)
		time.Sleep(500 * time.Microsecond)
	}
}

func TestKill(t *testing.T) {
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 1))
	next := uint64(1)
	for i := range *kills {
		last, err := runAndKill(t, dir, next, time.Duration(random.IntN(700)+30)*time.Millisecond)
		if err != nil {
			t.Fatalf("run %d: %v", i, err)
		}
		next = last + 2 // the one after the last that was printed may be there or not
	}
	s := mustOpen(t, dir, options())
	defer s.Close()
	times := make(map[string]int)
	sequence := uint64(0)
	for _, b := range all(t, s) {
		if b.Low() != sequence+1 {
			t.Errorf("block %d after %d", b.Low(), sequence)
		}
		sequence = b.Sequence
		for _, x := range b.Subjects {
			times[x.Name] += int(x.Sent)
		}
		for _, e := range b.Edges {
			if e.To == checks.Up {
				times[e.Name]++
			}
		}
	}
	list, err := s.Pending(1 << 30)
	must(t, err)
	if len(list) == 0 || list[len(list)-1].Sequence != sequence {
		t.Errorf("%d blocks wait, %d are in the history", len(list), sequence)
	}
	lost, twice := 0, 0
	for n := range next {
		name := fmt.Sprintf("check-%d", n)
		if _, acknowledged := printed[n]; acknowledged && times[name] == 0 {
			lost++
		}
		if times[name] > 1 {
			twice++
		}
	}
	t.Logf("%d kills, %d acknowledged, %d blocks", *kills, len(printed), sequence)
	if lost > 0 || twice > 0 {
		t.Errorf("%d lost, %d there twice", lost, twice)
	}
	if len(printed) < 50**kills/20 {
		t.Errorf("only %d were written: the test proves little", len(printed))
	}
}

// printed are the names that the writers had acknowledged.
var printed = make(map[uint64]struct{})

func runAndKill(t *testing.T, dir string, next uint64, after time.Duration) (last uint64, err error) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SPOOL_TEST_WRITER="+dir)
	cmd.Stdin = strings.NewReader(fmt.Sprintf("%d\n", next))
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	kill := time.AfterFunc(after, func() { _ = cmd.Process.Kill() })
	defer kill.Stop()
	last = next - 1
	reader := bufio.NewReader(out)
	for {
		text, readErr := reader.ReadString('\n')
		if readErr != nil {
			break // a line without its end was not printed
		}
		n, parseErr := strconv.ParseUint(strings.TrimSpace(text), 10, 64)
		if parseErr != nil {
			err = errors.New(text)
			continue
		}
		printed[n], last = struct{}{}, n
	}
	_ = cmd.Wait() // it was killed
	return last, err
}

// TestFullDisk runs the test again in a mount namespace with a tmpfs of 256 KiB.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "SPOOL_TEST_FULL_DISK="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNS, Unshareflags: syscall.CLONE_NEWNS}
	if os.Getuid() != 0 {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	out, err := cmd.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
}

// fullDisk fills the disk under a spool, twice: once for some minutes, once for
// hours, and makes room again.
func fullDisk(dir string) {
	check := func(err error, what string) {
		if err != nil {
			fmt.Println(what+":", err)
			os.Exit(1)
		}
	}
	claim := func(ok bool, what string, args ...any) {
		if !ok {
			fmt.Printf(what+"\n", args...)
			os.Exit(1)
		}
	}
	check(syscall.Mount("none", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""), "private mounts")
	check(syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"), "mount")
	var by time.Duration
	real := realClock()
	s, err := open(dir+"/spool", options(), func() (time.Time, time.Duration) {
		wall, mono := real()
		return wall.Add(by), mono + by // time passes, it is not set
	})
	check(err, "open")
	asked := uint64(0)
	// minutes lives n minutes and says how many samples stayed in memory, and
	// what was wrong at any time: room comes and goes by pages.
	minutes := func(n int) (memory int, wrong error) {
		for range 6 * n {
			by += 10 * time.Second
			err := s.Sample(records, good(time.Millisecond))
			if asked++; errors.Is(err, ErrMemory) {
				memory++
			} else {
				check(err, "sample")
			}
			check(s.tick(), "tick")
			wrong = cmp.Or(s.Stats().Error, wrong)
		}
		return memory, wrong
	}
	fill := func() {
		ballast, err := os.Create(dir + "/ballast")
		check(err, "ballast")
		for err == nil {
			_, err = ballast.Write(make([]byte, 1024))
		}
		claim(errors.Is(err, syscall.ENOSPC), "filling: %v", err)
		check(ballast.Close(), "close")
	}
	memory, wrong := minutes(5)
	claim(memory == 0 && wrong == nil, "trouble before: %v", wrong)
	fill()
	memory, wrong = minutes(20)
	claim(memory > 30 && errors.Is(wrong, syscall.ENOSPC), "disk full: %d in memory, %v", memory, wrong)
	claim(s.Stats().Waiting >= 25, "only %d blocks wait", s.Stats().Waiting)
	check(os.Remove(dir+"/ballast"), "make room")
	minutes(2)
	claim(s.Stats().Error == nil, "with room again: %v", s.Stats().Error)
	memory, _ = minutes(2)
	claim(memory == 0, "%d still in memory", memory)
	fill()
	_, wrong = minutes(300)
	claim(len(s.finished) <= inMemory && errors.Is(wrong, syscall.ENOSPC), "after hours: %d in memory, %v", len(s.finished), wrong)
	check(os.Remove(dir+"/ballast"), "make room")
	minutes(2)
	check(s.Close(), "close")
	var sent, next uint64 = 0, 1
	for b, err := range Read(dir+"/spool", time.Unix(0, 0), time.Now().Add(1e6*time.Second)) {
		check(err, "read")
		claim(b.Low() == next, "block %d, expected %d", b.Low(), next)
		next = b.Sequence + 1
		for _, x := range b.Subjects {
			sent += x.Sent
		}
	}
	claim(sent == asked, "%d samples of %d are there", sent, asked)
	fmt.Printf("%d samples, %d blocks, none lost\n", sent, next-1)
	os.Exit(0)
}
