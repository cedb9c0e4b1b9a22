package identity

import "strings"

// fingerprintWords are 256 words of four letters that can be told apart over
// the telephone. Their order is part of what a fingerprint is.
var fingerprintWords = strings.Fields(`
acid arch atom aunt axle baby barn bead beef belt bend bird bite blue boat bolt
book boot bowl brim buck bulb bush busy cafe cage cake calm camp card cart cash
chef chip city clay clip coal coat code coin comb cork crab crew cube curb damp
dark dawn deck deer desk dial disk dock dome door dove drum duck dusk echo edge
epic exam face fawn fern film fish flag fork frog fuel game gift gold golf gown
grid grip gulf gull harp hawk herb hero hill hood horn idea inch iron isle jade
jazz jest joke jump jury keel kelp kerb kick kiln king kite kiwi lace lake lamp
lane lark lava lawn leaf lens lily link lion loaf lock loom lung lynx mask maze
melt menu milk mill mint mist moat mole moon moss moth mule myth nail navy neck
nest newt nine noon nose oath oboe opal oven oxen palm park path peak pear pine
pink pipe plum poem polo pond pony pool port post puma pump quay quiz raft rail
rain ramp reef rice ring road robe rock roof rope ruby sail salt sand seed shed
ship silk sink skip snow soap sock sofa soil song soup spin spot star step stew
suit surf swan swim tank tape taxi teak tent tide tile toad tool town tram trap
tray tree trio tube tuna turf twig unit vase veil vest view vine visa vote walk
wall wasp wave wick wing wolf wood wool yard yarn yawn yeti yoga zero zinc zone
`)
