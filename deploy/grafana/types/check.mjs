// `make dashboards-types`: compiles each dashboard as a constant of the type in dashboards.ts.
//
// Exit status 1 names what Grafana's types refuse, or a planted fault that they do not refuse.
import { readFileSync, readdirSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const HERE = fileURLToPath(new URL('.', import.meta.url));
const FOLDER = fileURLToPath(new URL('../dashboards/', import.meta.url));
const OPTIONS = {
  strict: true,
  noEmit: true,
  skipLibCheck: true,
  types: [],
  target: ts.ScriptTarget.ESNext,
  module: ts.ModuleKind.ESNext,
  moduleResolution: ts.ModuleResolutionKind.Bundler,
};

// What is wrong, and how a dashboard gets it. A check that finds nothing must be able to.
const PLANTED = {
  'an option that is none': (board) => (first(board, 'stat').options.colourMode = 'value'),
  'a word that is none': (board) => (first(board, 'stat').options.colorMode = 'loud'),
  'a text for a number': (board) => (first(board, 'timeseries').fieldConfig.defaults.custom.lineWidth = '1'),
  'a panel of an unknown kind': (board) => (first(board, 'stat').type = 'status'),
};

function first(board, type) {
  return board.panels.find((panel) => panel.type === type);
}

const sources = new Map();
const boards = readdirSync(FOLDER).filter((name) => name.endsWith('.json'));
for (const name of boards) {
  add(name, readFileSync(FOLDER + name, 'utf8'));
}
for (const [fault, plant] of Object.entries(PLANTED)) {
  const board = JSON.parse(readFileSync(`${FOLDER}ebbwatch-overview.json`, 'utf8'));
  plant(board);
  add(fault, JSON.stringify(board));
}

function add(name, json) {
  const lines = [`import type { Board } from './dashboards';`, `export const board: Board = ${json};`];
  sources.set(`${HERE}${name}.ts`, lines.join(' '));
}

const host = ts.createCompilerHost(OPTIONS);
const { fileExists, getSourceFile } = host;
host.fileExists = (path) => sources.has(path) || fileExists(path);
host.getSourceFile = (path, ...more) =>
  sources.has(path)
    ? ts.createSourceFile(path, sources.get(path), OPTIONS.target, true)
    : getSourceFile(path, ...more);

const program = ts.createProgram([...sources.keys()], OPTIONS, host);
const refused = new Set();
const wrong = [];
for (const { file, start, messageText } of ts.getPreEmitDiagnostics(program)) {
  const name = file?.fileName.slice(HERE.length, -'.ts'.length);
  refused.add(name);
  if (!(name in PLANTED)) {
    const line = file && file.getLineAndCharacterOfPosition(start).line + 1;
    wrong.push(`${name}:${line}: ${ts.flattenDiagnosticMessageText(messageText, '\n')}`);
  }
}
for (const fault of Object.keys(PLANTED)) {
  if (!refused.has(fault)) {
    wrong.push(`not refused: ${fault}`);
  }
}
console.log(`${boards.length} dashboards, ${Object.keys(PLANTED).length} planted faults: ${wrong.length} wrong`);
if (wrong.length > 0) {
  console.error(wrong.join('\n'));
  process.exit(1);
}
