package uplink

import (
	"fmt"
	"runtime"
	"time"

	"github.com/google/uuid"
	"github.com/open-telemetry/opamp-go/protobufs"

	"github.com/ginnel/ginnel/agent/block"
	"github.com/ginnel/ginnel/agent/identity"
	"github.com/ginnel/ginnel/checks"
)

// healthOf is a snapshot as OpAMP's health tree: the gateway, and below it each
// tunnel and each check. What is a cause begins with its code; what is only an
// effect says what it waits for, and has none. Figures are not in it, so that it changes only when a
// state does.
func healthOf(s block.Snapshot) *protobufs.ComponentHealth {
	root := health(s.State, s.Since, coded(s.Code, s.Headline))
	root.ComponentHealthMap = map[string]*protobufs.ComponentHealth{}
	for _, t := range s.Tunnels {
		name, text := "tunnel/"+t.Network, t.Reason
		if t.Hub != "" {
			name += "/" + t.Hub
		}
		if t.WaitsFor != "" {
			text = "waits for " + t.WaitsFor
		} else if t.Hub != "" {
			text = coded(t.Code, text)
		} else if t.Peers > 0 {
			text = fmt.Sprintf("%d of %d peers up", t.PeersUp, t.Peers)
		}
		root.ComponentHealthMap[name] = health(t.State, t.Since, text)
	}
	for _, c := range s.Checks {
		text := c.Reason
		if c.WaitsFor != "" {
			text = "waits for " + c.WaitsFor
		} else if c.Detail != "" {
			text = c.Detail
		}
		text = coded(c.Code, text)
		root.ComponentHealthMap["check/"+c.Name] = health(c.State, c.Since, text)
	}
	return root
}

// coded puts a code before a text.
func coded(code, text string) string {
	if code == "" {
		return text
	}
	return code + ": " + text
}

func health(s checks.State, since time.Time, text string) *protobufs.ComponentHealth {
	h := &protobufs.ComponentHealth{Status: string(s), Healthy: s == checks.Up || s == checks.MaintenanceMode}
	if !h.Healthy {
		h.LastError = text
	}
	if since.Unix() > 0 {
		h.StatusTimeUnixNano = uint64(since.UnixNano())
	}
	return h
}

// describe says who we are, in OpenTelemetry's words where it has one.
func describe(uid uuid.UUID, s identity.Site, version string) *protobufs.AgentDescription {
	kv := func(key, value string) *protobufs.KeyValue {
		return &protobufs.KeyValue{Key: key, Value: &protobufs.AnyValue{Value: &protobufs.AnyValue_StringValue{StringValue: value}}}
	}
	return &protobufs.AgentDescription{
		IdentifyingAttributes: []*protobufs.KeyValue{
			kv("service.name", "ginnel"), kv("service.instance.id", uid.String()), kv("service.version", version),
		},
		NonIdentifyingAttributes: []*protobufs.KeyValue{
			kv("os.type", runtime.GOOS), kv("host.arch", runtime.GOARCH), kv("ginnel.gateway", s.Gateway), kv("ginnel.site", s.ID),
		},
	}
}

// effective is the running config: one file, named by its hash; see
// maxEffective.
func effective(hash, text string) *protobufs.EffectiveConfig {
	m := &protobufs.AgentConfigMap{}
	if len(text) > maxEffective {
		text = ""
	}
	if hash != "" {
		m.ConfigMap = map[string]*protobufs.AgentConfigFile{
			"sha256:" + hash: {Body: []byte(text), ContentType: "application/toml"},
		}
	}
	return &protobufs.EffectiveConfig{ConfigMap: m}
}

// certificateRequest asks for a certificate for the device key.
func certificateRequest(id *identity.Identity) (*protobufs.ConnectionSettingsRequest, error) {
	csr, err := id.NewCSR()
	if err != nil {
		return nil, err
	}
	return &protobufs.ConnectionSettingsRequest{Opamp: &protobufs.OpAMPConnectionSettingsRequest{
		CertificateRequest: &protobufs.CertificateRequest{Csr: csr}}}, nil
}
