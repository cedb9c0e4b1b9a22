package plugin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "github.com/ginnel/ginnel/checks/plugin/proto"
)

// start verifies and starts the program once, and asks it what it has.
//
// There is no TLS between the two: the socket is in a folder that only the
// agent's user may enter, or comes through the lease, so whoever could listen
// in could as well be the agent; and gRPC of other languages does not take the
// certificates that go-plugin makes.
func (p *process) start(ctx context.Context) (*session, error) {
	offer, err := p.program()
	if err != nil {
		return nil, err
	}
	var prog *program
	out := &lines{log: p.log, flood: func() {
		if prog != nil {
			prog.fail("it floods its output")
		}
	}}
	client := goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig:  handshake,
		VersionedPlugins: map[int]goplugin.PluginSet{protocolVersion: {service: &wire{}}},
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		RunnerFunc: func(_ hclog.Logger, _ *exec.Cmd, sockets string) (runner.Runner, error) {
			var err error
			if prog, err = prepare(offer, p.options, order{Kind: offer.Kind, Plugin: true, sockets: sockets}); err != nil {
				os.RemoveAll(sockets)
				return nil, err
			}
			prog.out = out
			return prog, nil
		},
		// Its socket may be where only the body of the program can reach it.
		GRPCDialOptions: []grpc.DialOption{grpc.WithContextDialer(func(ctx context.Context, _ string) (net.Conn, error) {
			return prog.connect(ctx)
		}), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(answerMost))},
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: p.options.SocketDir},
		SkipHostEnv:      true,
		StartTimeout:     startMost,
		Logger:           hclog.NewNullLogger(),
		Stderr:           out,
		SyncStdout:       out,
		SyncStderr:       out,
	})
	s := &session{client: client}
	protocol, err := client.Client()
	if err == nil {
		var raw any
		if raw, err = protocol.Dispense(service); err == nil {
			s.checks, s.program = raw.(pb.ChecksClient), prog
			err = p.introduce(ctx, s)
		}
	}
	if err == nil {
		return s, nil
	}
	client.Kill()
	return nil, p.whyNot(offer, prog, err)
}

// answerMost bounds what a program may send at once, in bytes.
const answerMost = 4 << 20

// introduce asks a program what kinds it has. At each start it says the same:
// the checks of a config were validated with what it said first.
func (p *process) introduce(ctx context.Context, s *session) error {
	ctx, cancel := context.WithTimeout(ctx, validateMost)
	defer cancel()
	d, err := s.checks.Describe(ctx, &pb.DescribeRequest{})
	if status.Code(err) == codes.ResourceExhausted {
		return &lie{fmt.Sprintf("says more than %d bytes of itself", answerMost)}
	}
	if err != nil {
		return fmt.Errorf("asking for its kinds: %w", err)
	}
	if s.kinds, err = honest(d); err != nil {
		return err
	}
	if p.known == nil {
		p.known = s.kinds
	}
	return sameKinds(p.known, s.kinds)
}

// whyNot says why the program is not running; go-plugin has only text for it.
func (p *process) whyNot(o Offer, prog *program, err error) error {
	if file, ok := errors.AsType[*FileError](err); ok {
		return file
	}
	if l, ok := errors.AsType[*lie](err); ok {
		return &lie{o.Path + ": " + l.what}
	}
	var theirs int
	if _, e := fmt.Sscanf(err.Error(), "incompatible API version with plugin. Plugin version: %d,", &theirs); e == nil {
		return fmt.Errorf("%s: speaks version %d of the plugin protocol, this agent speaks %d", o.Path, theirs, protocolVersion)
	}
	if said, ok := strings.CutPrefix(err.Error(), "Unrecognized remote plugin message: "); ok && !strings.Contains(said, "Failed to read any lines") {
		return fmt.Errorf("%s: said %.60q on standard output where its handshake should be", o.Path, strings.TrimSpace(said))
	}
	if prog != nil && prog.started() {
		select {
		case <-prog.ended: // killed by now at the latest
		case <-time.After(drain):
		}
		mute := strings.Contains(err.Error(), "Failed to read any lines") // it was about to end when it was killed
		if how := prog.how(); how != "" && (mute || how != "signal: killed") {
			return fmt.Errorf("%s: ended before it could be used (%s)", o.Path, how)
		}
	}
	return fmt.Errorf("%s: %s", o.Path, strings.Join(strings.Fields(err.Error()), " "))
}
