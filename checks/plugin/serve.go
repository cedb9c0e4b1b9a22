package plugin

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"

	"github.com/ginnel/ginnel/checks"
	pb "github.com/ginnel/ginnel/checks/plugin/proto"
)

// Serve makes a program of kinds: it is all that main needs to call. It returns
// when the agent wants no more of the program, and ends the process when it was
// not started by an agent, or when the agent is gone. What the program writes
// to standard output and standard error goes to the agent's log.
func Serve(kinds ...checks.Kind) {
	if os.Getenv(handshake.MagicCookieKey) != handshake.MagicCookieValue {
		fmt.Fprintf(os.Stderr, "%s is a check plugin: ginnel starts it.\nhint: offer it in /etc/ginnel/checks.d, then `ginnel check plugin verify`\n",
			filepath.Base(os.Args[0]))
		os.Exit(2)
	}
	registry, err := checks.NewRegistry(kinds...)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	nameProcess()
	if watchAgent {
		go dieWithAgent()
	}
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig:  handshake,
		VersionedPlugins: map[int]goplugin.PluginSet{servedVersion: {service: &wire{server: newServer(registry)}}},
		GRPCServer:       goplugin.DefaultGRPCServer,
		Logger:           hclog.New(&hclog.LoggerOptions{Level: hclog.Error, Output: os.Stderr}),
	})
	if err := registry.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// What tests change before they call Serve.
var (
	servedVersion = protocolVersion
	watchAgent    = true
)

// nameProcess gives the process its program's name: it was started through a
// descriptor, which is no name to find in a list of processes.
func nameProcess() {
	_ = os.WriteFile("/proc/self/comm", []byte(filepath.Base(os.Args[0])), 0)
}

// dieWithAgent ends the process when the agent's end of the line is closed,
// which the kernel does whatever way the agent ends.
func dieWithAgent() {
	fd, err := strconv.Atoi(os.Getenv(lifeEnv))
	if err != nil {
		return
	}
	unix.CloseOnExec(fd)
	line := os.NewFile(uintptr(fd), "agent")
	buf := make([]byte, 1)
	for {
		if n, err := line.Read(buf); n == 0 || err != nil {
			os.Exit(1)
		}
	}
}

// wire ties our service to go-plugin: the server half in the plugin, the client
// half in the agent.
type wire struct {
	goplugin.NetRPCUnsupportedPlugin
	server pb.ChecksServer
}

// GRPCServer implements goplugin.GRPCPlugin.
func (w *wire) GRPCServer(_ *goplugin.GRPCBroker, s *grpc.Server) error {
	if w.server == nil {
		return errors.New("the agent serves no checks")
	}
	pb.RegisterChecksServer(s, w.server)
	return nil
}

// GRPCClient implements goplugin.GRPCPlugin.
func (w *wire) GRPCClient(_ context.Context, _ *goplugin.GRPCBroker, c *grpc.ClientConn) (any, error) {
	return pb.NewChecksClient(c), nil
}
