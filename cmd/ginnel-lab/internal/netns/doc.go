// Package netns makes the sealed box in which a county runs, and the nodes
// inside it.
//
// The box is a mount, PID, network, host-name and IPC namespace, for an ordinary user inside
// a user namespace of its own. Its first process is Init; when that ends, the
// kernel ends everything that was started inside and nothing is left behind.
// A Node is a machine in the box: a network and mount namespace with its own
// /run, /etc/ginnel, /var/lib/ginnel and host name, so that real programs run
// at their real paths. What the machines are for is decided elsewhere.
package netns
