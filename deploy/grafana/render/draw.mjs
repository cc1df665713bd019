// node draw.mjs DATA FOLDER: draws every dashboard of ../dashboards to FOLDER/<name>.png.
//
// DATA is what `python -m tests.dashboards --record DATA` kept. Needs chromium.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { build } from 'esbuild';

const [data, folder] = process.argv.slice(2).map((path) => resolve(path));
const here = import.meta.dirname, boards = join(here, '../dashboards');
const WIDTH = 1600, ROW = 38, HEAD = 64;

mkdirSync(folder, { recursive: true });
await build({
  entryPoints: [join(here, 'draw.jsx')], outfile: join(folder, 'draw.js'), bundle: true, jsx: 'automatic',
  format: 'esm',
  minify: true, define: { 'process.env.NODE_ENV': '"production"' }, logLevel: 'error',
  loader: { '.ttf': 'dataurl', '.woff': 'dataurl', '.woff2': 'dataurl', '.svg': 'dataurl' },
});
// Grafana's font is not in its packages; the drawing measures its texts in the font of this name.
const style = `@font-face{font-family:Inter;src:local("Liberation Sans"),local("DejaVu Sans"),local("Arial")}
  html,body{margin:0;background:#111217;color:#ccccdc;font:14px Inter,sans-serif}
  h1{position:absolute;left:16px;top:8px;font-size:22px;font-weight:500;margin:8px 0}
  h2{font-size:18px;font-weight:500;margin:0;padding-top:4px} .nothing{padding:16px;color:#9a9ba5}
  table{width:100%;border-collapse:collapse} td,th{text-align:left;padding:5px 8px;border-bottom:1px solid #2c2d33}
  th{color:#6e9fff;font-weight:500}`;
const shown = JSON.parse(readFileSync(data, 'utf8'));
for (const file of readdirSync(boards).filter((name) => name.endsWith('.json'))) {
  const board = JSON.parse(readFileSync(join(boards, file), 'utf8'));
  const height = Math.max(...board.panels.map(({ gridPos: { y, h } }) => y + h)) * ROW + HEAD;
  const page = join(folder, file.replace('.json', '.html')), picture = page.replace('.html', '.png');
  const given = JSON.stringify({ board, ...shown }).replaceAll('<', '\\u003c');
  writeFileSync(page, `<!doctype html><meta charset="utf-8"><style>${style}</style>
    <link rel="stylesheet" href="draw.css"><div id="root"></div>
    <script>window.DRAW = ${given}; window.grafanaBootData = {settings: {}, user: {}};</script>
    <script type="module" src="draw.js"></script>`);
  execFileSync('chromium', [
    '--headless', '--no-sandbox', '--disable-gpu', '--hide-scrollbars', '--virtual-time-budget=8000',
    '--allow-file-access-from-files', `--window-size=${WIDTH},${height}`, `--screenshot=${picture}`, `file://${page}`,
  ], { stdio: ['ignore', 'ignore', process.env.DEBUG ? 'inherit' : 'ignore'] });
  console.log(picture);
}
