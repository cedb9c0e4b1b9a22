package main

// What `ginnel help COMMAND` prints below the first line.

const statusHelp = `
  --json       the same as JSON: the same names, times in RFC 3339, seconds
  --watch      again each second, until Ctrl-C
  --wait TIME  until all is up, at most so long: 60s, 5m

What is worst stands first, with its cause. SINCE is when the state began, not
when it was noticed. A check that waits for a tunnel is unknown, not down.

Exit: 0 all up (maintenance counts as up), 1 degraded or unknown, 2 down, 3 the
agent does not run or may not be asked. The last command at a site, and of a
script: ginnel status --wait 60s`

const whyHelp = `
Walks a network from its device to its services, or without a name the whole
site outward from the cable, and stops blaming at the first broken step. Says
what that means, who can mend it, and what to read out on the phone.

  --request  the text for whoever runs a firewall on the way
  --json     the same as JSON: stable names and codes
  --codes    what every code means

Exit: as status. Without an agent root gets what can be seen without one.`

const planHelp = `
Compares FILE with this host, and prints the steps that the agent would take:
+ what is added, ~ changed, - removed. Without FILE it is the config that runs
here where the centre sends it, else /etc/ginnel/desired.toml. A signed config
is judged as the agent would. Writes nothing but a network's key where there is
none yet.

  --json  the steps as JSON; what is refused is text, on standard error

Exit: 0 nothing to do, 2 there are steps, 1 refused: there is a mistake in the
file, or it would take this host's own network, or what is somebody else's.`

const runHelp = `
Reads the config, brings the tunnels up, measures and reports, until SIGTERM or
Ctrl-C. Tunnels go on when it ends: ginnel down takes them down, ginnel cleanup
removes everything. SIGHUP reads the config again. As a service: systemctl start
ginnel.

  --config FILE  instead of /etc/ginnel/desired.toml

Root is not needed: CAP_NET_ADMIN and CAP_NET_RAW are.`

const applyHelp = `
BUNDLE is a config that central ops signed, as it comes on a USB stick to a site
that the collector cannot reach. It is judged as one that comes over the line:
signed by somebody who is accepted here, for this gateway, newer than any that
was accepted before. Then it is tried: it stays when every tunnel that it touches
works again, and the one before is put back when one does not.

Ctrl-C leaves the trial running: status shows it. See also ginnel plan BUNDLE.

Exit: 0 it stays, 1 refused or gone back from, 2 it runs, unconfirmed: nobody
could tell yet, 3 the agent does not run.`

const rollbackHelp = `
For a technician at the site: the config before the present one runs again, also
after a reboot, and the centre sees that. It ends when the centre sends a newer
generation. What was gone back from is not taken again.

Exit: 0 it runs, 1 there is none to go back to, 3 the agent does not run.`

const reloadHelp = `
A config with a mistake is refused as a whole, with every mistake and its place;
nothing is changed then, and status shows it. Tunnels that the new config has as
well lose no packet. Also brings up what ginnel down took down. Where the centre
sends the config it is run again as it is, and desired.toml is refused by name.`

const keyHelp = `
Makes the private key of NETWORK on first use, in a file that only the agent and
root can read, and prints the public half: the public_key at the other end. The
private half never leaves this machine.`

const enrolHelp = `
PACK is the file that central ops gave you. It is read aloud first: whose site,
which place, which networks. The wrong pack would join one body's LAN to
another's network, so look before you say yes. The device key is made here. Its
token is good once, and is taken out of the file then.

  --yes  ask nothing

Ends with a list of what passed. Exit: 0 enrolled, 1 not. With an agent running
it reports at once; else from when it starts.`

const configInitHelp = `
Prints 15 lines to change. Every key that there is: agent/config/reference.toml.

  --role site|hub  which end; site unless given

  ginnel config init avocet-1 kestrel | sudo tee /etc/ginnel/desired.toml`

const configCheckHelp = `
FILE is the config that is to run here unless given: the centre's, else
/etc/ginnel/desired.toml. Prints every mistake at once, each with line, column
and what to do. Looks at the file only; what it would do to this host: ginnel
plan. Of a signed bundle it also says who signed it, and on an enrolled gateway
whether that is accepted there. Exit: 0 good, 1 not.`

const configShowHelp = `
FILE is the config that is to run here unless given: the centre's, else
/etc/ginnel/desired.toml; which, it says on standard error. Names of devices,
table numbers and the like, which follow from a network's name, are in it. Keys
are not.`

const checkListHelp = `
Those built in, and those of programs that /etc/ginnel/checks.d offers, with how
each program is. A program is started for it where it may be.

  --json  the same as JSON, with the options of each kind`

const checkSchemaHelp = `
What [check.options] may hold in a check of KIND, and what it is unless given.

  --json  the same as JSON: stable names`

const checkRunHelp = `
As the agent does it, by the agent where one runs, through the network that the
check names; the record is not touched. NAME may be a tunnel: NETWORK/HUB.

  --explain  each step with its time, and what else the run found
  --json     the same as JSON: stable names, times in RFC 3339, seconds

Exit: 0 ok, 1 degraded or unknown, 2 failed.`

const checkWatchHelp = `
One line for each run of the agent's, and the course of the last twenty medians
beside it. NAME may be a tunnel: NETWORK/HUB.

  --json  each run as JSON on a line, as check run has it`

const historyHelp = `
With NAME, a check or NETWORK/HUB: its course since a time, the losses, and each
change of its state. Without: the report of a month, from what this gateway
measured itself, with the code that the centre uses. No connection is needed.
Unknown is what nobody measured: neither up nor down.

  --since TIME     of NAME: 2h, 3d, 13:55, 2026-11-20 or "2026-11-20 14:00"; 24h
                   unless given
  --month MONTH    of the report, as 2026-11, in Europe/London; else the present
  --json           the same as JSON; so does --format json`

const evidenceHelp = `
When a check or tunnel goes down or gets worse its last packets are frozen, and
the way to it is looked at: path, packet size, names, tunnel, interfaces. ID is
one of those that are listed without it. Kept here, and sent to the centre: at
most one of a check and cause in ten minutes, the last 50.

  --json  the same as JSON: stable names, times in RFC 3339, seconds`

const renewHelp = `
After an upgrade data planes run on as they are, for the sake of their sessions;
status says which. This ends each one of NETWORK and starts the installed
program in its place, the first hub's last, and prints what that lost of an echo
each 10 ms. Traffic of the network is refused meanwhile, and never sent another
way. With the kernel's WireGuard there is nothing to renew.

  --all  those of all networks`

const downHelp = `
Takes the tunnels down. What is for their networks is refused, and never sent
another way. Up again: ginnel reload, or the next start of the agent.`

const cleanupHelp = `
Removes tunnels, routes, rules, filters and settings of ours, and puts settings
back as they were. Refused while the agent runs. Config, keys and what was
measured are kept, in /etc/ginnel and /var/lib/ginnel.`

const guardHelp = `
For ginnel-guard.service, at boot. Between the first link and the start of the
agent nothing for a network of ours can leave this host around its tunnel.`

const pluginVerifyHelp = `
For whoever writes a program that makes checks. It is started as the agent
does, says what kinds it has, and passes the suite of the built-in kinds, as far
as there are targets for it. An offer of checks.d may stand for a program.

  --good TARGET       answers as it should
  --refusing TARGET   is there and says no
  --silent TARGET     never answers
  --option NAME=VALUE an option of the check; may be given again
  --kind KIND         of a program with several; all unless given

Exit: 0 it passed, 1 it did not.`

const pluginRetryHelp = `
A program that ended ten times within ten minutes, or says other things of
itself than before, is not started again by itself. This touches its offer in
/etc/ginnel/checks.d; a change of the offer does the same. As root.`

const checkInstanceHelp = `
The unit ginnel-check@.service runs it, with a connection from the agent. It
reads which kind is wanted, looks that up in /etc/ginnel/checks.d, starts the
program, and ends with the connection.`
