// Command ginnel-dataplane runs wireguard-go for one device, with the socket
// that wg(8) and wgctrl speak to, and nothing else: no configuration of its
// own, no netlink, no state. The agent starts one for each device where the
// kernel has no WireGuard, and configures it as it would a kernel device. It
// lives on when the agent ends, and ends when its link is deleted.
//
//	ginnel-dataplane [flags] DEVICE     in the foreground
//	ginnel-dataplane [flags] --stdin    the name is a line on the socket at stdin;
//	                                    it may stand behind it too, for ps(1)
//	ginnel-dataplane [flags]            the same on a socket from systemd (LISTEN_FDS)
//
// In the last two forms the line is the device name and, behind spaces, options:
//
//	gn-kestrel-nc5e no-offload memory=100663296
//
//	no-offload    send and receive packets one by one, without GSO and GRO
//	memory=BYTES  the most to use, in place of what we choose
//
// It answers "ok" once the device can be configured, or "error …" and ends, also
// over an option that it does not know. The connection may then close. A bare
// name asks for nothing special and is what every version understands.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"regexp"
	"runtime/debug"
	"syscall"

	"golang.zx2c4.com/wireguard/device"
)

// version is set by the linker.
var version string

// deviceName is what a link of ours is called. Names of other shapes are
// refused, so that whoever may ask for a data plane cannot take over a link of
// somebody else.
var deviceName = regexp.MustCompile(`^gn-[a-z0-9-]{1,12}$`)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	signal.Ignore(syscall.SIGHUP, syscall.SIGPIPE)
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	log.SetFlags(0)
	log.SetOutput(stderr)
	log.SetPrefix("ginnel-dataplane: ")

	flags := flag.NewFlagSet("ginnel-dataplane", flag.ContinueOnError)
	flags.SetOutput(stderr)
	mtu := flags.Int("mtu", device.DefaultMTU, "bytes a packet of the new link may have")
	stdin := flags.Bool("stdin", false, "read the device name from the socket at stdin")
	plain := flags.Bool("no-offload", os.Getenv("GINNEL_NO_OFFLOAD") == "1",
		"send and receive packets one by one, without GSO and GRO (GINNEL_NO_OFFLOAD=1)")
	show := flags.Bool("version", false, "print the version and exit")
	flags.Usage = func() {
		fmt.Fprintln(stderr, "usage: ginnel-dataplane [flags] DEVICE\n       ginnel-dataplane [flags] --stdin [DEVICE]")
		flags.PrintDefaults()
	}
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if *show {
		fmt.Fprintln(stdout, "ginnel-dataplane", ourVersion())
		return 0
	}

	ask, err := whoAsks(flags.Args(), *stdin)
	if err != nil {
		log.Print(err)
		return 2
	}
	opts, err := ask.options(options{mtu: *mtu, plain: *plain})
	if err != nil {
		ask.answer(err)
		log.Print(err)
		return 2
	}
	opts.limit = limitMemory(opts.memory)
	p, err := start(ask.name, opts)
	ask.answer(err)
	if err != nil {
		log.Print(err)
		return 1
	}
	log.SetPrefix("ginnel-dataplane: " + ask.name + ": ")
	log.Printf("ready, version %s%s", ourVersion(), opts.limit)
	log.Printf("ended: %v", p.run(ctx))
	return 0
}

// ourVersion is the version that the build gave us, or failing that the
// revision that the go tool wrote down.
func ourVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value[:min(12, len(s.Value))]
			}
		}
	}
	return "unknown"
}
