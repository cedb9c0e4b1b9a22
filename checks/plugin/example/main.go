// Command example is a check plugin, small and whole: its kind "banner" expects
// a service to greet whoever connects, as SSH and SMTP servers do. Copy the
// folder to begin one of your own.
package main

import "github.com/ginnel/ginnel/checks/plugin"

func main() { plugin.Serve(Banner()) }
