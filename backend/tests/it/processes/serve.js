// The linear model of these tests in another language.
const fs = require('fs');
const http = require('http');

const options = {};
for (let at = 2; at < process.argv.length; at += 2) options[process.argv[at]] = process.argv[at + 1];
const { weights } = JSON.parse(fs.readFileSync(options['--folder'] + '/model.bin'));

function infer(call) {
  const columns = Object.fromEntries(call.inputs.map((tensor) => [tensor.name, tensor.data]));
  const scores = columns.age.map((age, row) => {
    const balance = columns.balance[row];
    return age === null || balance === null ? null : 1 + weights[0] * age + weights[1] * balance;
  });
  const tensor = ({ name }) => ({ name, datatype: 'FP64', shape: [scores.length], data: scores });
  return { outputs: call.outputs.map(tensor) };
}

http.createServer((request, response) => {
  const chunks = [];
  request.on('data', (chunk) => chunks.push(chunk));
  request.on('end', () => {
    const answer = request.method === 'GET' ? {} : infer(JSON.parse(Buffer.concat(chunks)));
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(answer));
  });
}).listen(options['--socket']);
process.on('SIGTERM', () => process.exit(0));
