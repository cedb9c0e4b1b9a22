package control

import (
	"context"
	"crypto/sha256"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/open-telemetry/opamp-go/client"
	"github.com/open-telemetry/opamp-go/client/types"
	"github.com/open-telemetry/opamp-go/protobufs"

	"github.com/ginnel/ginnel/checks"
)

// stranger is opamp-go's client, used as its example agent does: it describes
// itself, shows its YAML, applies what it is sent, and takes connection settings.
type stranger struct {
	client.OpAMPClient
	errors  atomic.Int64 // of the server, as the client understands it
	configs atomic.Int64 // that it was sent
}

func (s *stranger) start(t *testing.T, settings types.StartSettings) {
	t.Helper()
	s.OpAMPClient = client.NewHTTP(nil)
	capabilities := protobufs.AgentCapabilities_AgentCapabilities_ReportsStatus |
		protobufs.AgentCapabilities_AgentCapabilities_AcceptsRemoteConfig |
		protobufs.AgentCapabilities_AgentCapabilities_ReportsRemoteConfig |
		protobufs.AgentCapabilities_AgentCapabilities_ReportsEffectiveConfig |
		protobufs.AgentCapabilities_AgentCapabilities_ReportsOwnMetrics |
		protobufs.AgentCapabilities_AgentCapabilities_ReportsHealth |
		protobufs.AgentCapabilities_AgentCapabilities_ReportsHeartbeat |
		protobufs.AgentCapabilities_AgentCapabilities_AcceptsOpAMPConnectionSettings
	text := func(key, value string) *protobufs.KeyValue {
		return &protobufs.KeyValue{Key: key, Value: &protobufs.AnyValue{Value: &protobufs.AnyValue_StringValue{StringValue: value}}}
	}
	settings.Callbacks = types.Callbacks{
		OnError: func(context.Context, *protobufs.ServerErrorResponse) { s.errors.Add(1) },
		GetEffectiveConfig: func(context.Context) (*protobufs.EffectiveConfig, error) {
			return &protobufs.EffectiveConfig{ConfigMap: &protobufs.AgentConfigMap{ConfigMap: map[string]*protobufs.AgentConfigFile{"": {Body: []byte("exporters: {}\n")}}}}, nil
		},
		OnMessage: func(_ context.Context, m *types.MessageData) {
			if m.RemoteConfig != nil {
				s.configs.Add(1)
			}
		},
		OnOpampConnectionSettings: func(context.Context, *protobufs.OpAMPConnectionSettings) error { return nil },
	}
	hash := sha256.Sum256([]byte("exporters: {}\n"))
	if err := errors.Join(
		s.SetAgentDescription(&protobufs.AgentDescription{
			IdentifyingAttributes:    []*protobufs.KeyValue{text("service.name", "io.opentelemetry.collector"), text("service.version", "9.9")},
			NonIdentifyingAttributes: []*protobufs.KeyValue{text("os.type", "linux"), text("host.name", "<b>heron</b>")},
		}),
		s.SetHealth(&protobufs.ComponentHealth{Healthy: true, StartTimeUnixNano: uint64(time.Now().UnixNano())}),
		s.SetCapabilities(&capabilities),
		s.Start(t.Context(), settings),
		s.SetRemoteConfigStatus(&protobufs.RemoteConfigStatus{LastRemoteConfigHash: hash[:], Status: protobufs.RemoteConfigStatuses_RemoteConfigStatuses_APPLIED}),
	); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
}

// opamp-go's example agent shows up in the collector, with the certificate of a
// gateway; without one it stays outside. Neither harms a gateway beside it.
func TestForeignAgent(t *testing.T) {
	r := newRig(t)
	beside := r.run(r.enrolled("bittern"), nil)
	id := r.enrolled("avocet")
	mutual, err := id.TLSConfig(nil)
	if err != nil {
		t.Fatal(err)
	}
	known, unknown := &stranger{}, &stranger{}
	known.start(t, types.StartSettings{OpAMPServerURL: "https://" + r.addr + Path, TLSConfig: mutual, InstanceUid: types.InstanceUid(id.UID())})
	unknown.start(t, types.StartSettings{OpAMPServerURL: "https://" + r.addr + Path, TLSConfig: r.anonymous(), InstanceUid: types.InstanceUid{15: 1}})
	eventually(t, "it was heard", func() bool {
		a := r.agent("avocet-1")
		return a.Version == "9.9" && a.Health != nil && a.Health.Healthy && a.Config == "exporters: {}\n"
	})
	first := r.agent("avocet-1").Seen
	eventually(t, "it calls at our interval, not at its own of 30 s", func() bool { return r.agent("avocet-1").Seen.Sub(first) > time.Second })
	beside.state.Store(checks.Down)
	beside.Wake()
	eventually(t, "the gateway beside it is heard", func() bool { return r.saved("bittern-1") == checks.Down })
	eventually(t, "the other one was refused", func() bool { return len(r.events("enrol refused")) > 0 })
	if known.errors.Load() != 0 || known.configs.Load() != 0 || len(r.server.Agents()) != 2 || r.saved("avocet-1") != "" {
		t.Errorf("%d errors and %d configs at the agent; %d agents, state %q of the foreign one at the centre",
			known.errors.Load(), known.configs.Load(), len(r.server.Agents()), r.saved("avocet-1"))
	}
}
