#!/usr/bin/env node
'use strict'
// Starts Belfry on a Node that can run it: this one, or the one installed beside it.
// Written so that an old Node gets as far as the message.
var childProcess = require('child_process')
var fs = require('fs')
var os = require('os')
var path = require('path')

var NODE_MIN = 24
var root = path.join(__dirname, '..')
var own = path.join(
  root,
  'node_modules',
  '.bin',
  process.platform === 'win32' ? 'node.cmd' : 'node',
)
var isNew = parseInt(process.versions.node, 10) >= NODE_MIN

if (!isNew && !fs.existsSync(own)) {
  console.error('belfry needs Node.js ' + NODE_MIN + ' or later; this is ' + process.version + '.')
  console.error('In a checkout, npm start installs it once: run that first.')
  process.exit(2)
}
// Left to itself, Node lets the room for new objects grow to 128 MB during a large import and keeps it; a quarter of
// that costs no time that shows. It can be set when a process begins, and not later.
var flags = ['--max-semi-space-size=16']
var args = flags.concat(path.join(root, 'src', 'main.ts'), process.argv.slice(2))
var child = childProcess.spawn(isNew ? process.execPath : own, args, { stdio: 'inherit' })
// The terminal sends Ctrl-C to both; we stay until the child has stopped in good order.
process.on('SIGINT', function () {})
process.on('SIGTERM', function () {
  child.kill('SIGTERM')
})
child.on('error', function (error) {
  console.error('belfry: ' + error.message)
  process.exit(2)
})
child.on('exit', function (code, signal) {
  process.exit(signal ? 128 + os.constants.signals[signal] : code)
})
