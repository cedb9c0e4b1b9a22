// A FHIR server without data, of another maker than ours: it tells at
// /4_0_0/metadata what it can do. argv: port.
const { initialize, loggers, constants } = require('@asymmetrik/node-fhir-server-core');
const path = require('path');
const server = initialize({
  profiles: { patient: { service: path.join(__dirname, 'patient.js'), versions: [constants.VERSIONS['4_0_0']] } },
  logging: { level: 'error' },
});
server.listen(process.argv[2], '127.0.0.1', () => console.log('listening'));
