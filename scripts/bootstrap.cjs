'use strict'
// Installs the packages of the lock file, the right Node among them, unless they are there.
// It is the first thing to run in a fresh clone, so it runs on any Node from 12 on and needs nothing.
const childProcess = require('child_process')
const crypto = require('crypto')
const fs = require('fs')
const path = require('path')

const root = path.join(__dirname, '..')
const modules = path.join(root, 'node_modules')
const bin = path.join(modules, '.bin')
const stamp = path.join(modules, '.belfry-lock-sha256')
const lock = path.join(root, '.belfry-install.lock')
const isWindows = process.platform === 'win32'

const BEAT_MS = 500
const STALE_MS = 10000
const POLL_MS = 200
const NPM_CI = [
  'ci',
  '--no-audit',
  '--no-fund',
  '--loglevel=error',
  '--include=dev',
  '--include=optional',
  // Node and Postgres are put in place by their install scripts.
  '--ignore-scripts=false',
]

main().then(
  (code) => process.exit(code),
  (error) => {
    console.error('belfry: ' + ((error && error.message) || error))
    process.exit(1)
  },
)

async function main() {
  if (isFresh()) return 0
  const token = await acquireLock()
  try {
    // Whoever held the lock may have installed for us.
    return isFresh() ? 0 : await install()
  } finally {
    releaseLock(token)
  }
}

async function install() {
  console.error('belfry: installing packages (npm ci)')
  const code = await run('npm', NPM_CI, environment())
  if (code !== 0) {
    console.error('belfry: npm ci failed (' + code + ')')
    return 1
  }
  const node = path.join(bin, isWindows ? 'node.cmd' : 'node')
  // A blocked install script does not make npm fail; a Node that is not there does not run.
  const reply = childProcess.spawnSync(node, ['--version'], { encoding: 'utf8', shell: isWindows })
  if (reply.status !== 0) {
    console.error('belfry: ' + node + ' does not run. Are install scripts blocked?')
    console.error('belfry: try npm rebuild --ignore-scripts=false')
    return 1
  }
  fs.writeFileSync(stamp, wanted())
  console.error('belfry: installed, Node ' + reply.stdout.trim())
  return 0
}

function wanted() {
  const text = fs.readFileSync(path.join(root, 'package-lock.json'))
  const hash = crypto.createHash('sha256').update(text).digest('hex')
  return hash + ' ' + process.platform + '-' + process.arch
}

function isFresh() {
  return read(stamp) === wanted() && fs.existsSync(path.join(bin, isWindows ? 'node.cmd' : 'node'))
}

function read(file) {
  try {
    return fs.readFileSync(file, 'utf8')
  } catch {
    return undefined
  }
}

/**
 * The holder touches the lock all the while. A waiter takes a lock over that it has not seen change
 * for ten seconds: a process id would say nothing, since the system gives it to others.
 */
async function acquireLock() {
  const token = crypto.randomBytes(8).toString('hex')
  let seen = ''
  let since = process.hrtime()
  for (;;) {
    try {
      fs.writeFileSync(lock, token, { flag: 'wx' })
      const beat = setInterval(() => touch(lock), BEAT_MS)
      beat.unref()
      process.on('exit', () => releaseLock(token))
      for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
        process.on(signal, () => process.exit(130))
      return token
    } catch (error) {
      if (error.code !== 'EEXIST') throw error
    }
    const now = stateOf(lock)
    if (now !== seen) {
      seen = now
      since = process.hrtime()
    } else if (elapsedMs(since) > STALE_MS && stateOf(lock) === seen) {
      console.error('belfry: taking over an installation that was broken off')
      unlink(lock)
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
}

function releaseLock(token) {
  if (read(lock) === token) unlink(lock)
}

function stateOf(file) {
  try {
    return read(file) + ' ' + fs.statSync(file).mtimeMs
  } catch {
    return ''
  }
}

function touch(file) {
  try {
    const now = new Date()
    fs.utimesSync(file, now, now)
  } catch {
    // Taken over by somebody who thought us dead; npm ci is safe to run twice.
  }
}

function unlink(file) {
  try {
    fs.unlinkSync(file)
  } catch (error) {
    if (error.code !== 'ENOENT') throw error
  }
}

function elapsedMs(since) {
  const [seconds, nanoseconds] = process.hrtime(since)
  return seconds * 1000 + nanoseconds / 1e6
}

/** The Node we run on may live in node_modules, which npm ci removes: npm runs on the system's. */
function environment() {
  const env = Object.assign({}, process.env)
  const name = Object.keys(env).find((key) => key.toUpperCase() === 'PATH') || 'PATH'
  const folders = (env[name] || '').split(path.delimiter)
  env[name] = folders.filter((folder) => path.resolve(folder) !== bin).join(path.delimiter)
  delete env.NODE_ENV
  delete env.NODE_OPTIONS
  delete env.npm_config_omit
  delete env.npm_config_ignore_scripts
  return env
}

function run(command, args, env) {
  return new Promise((resolve, reject) => {
    // Standard output belongs to the script that we run before.
    const stdio = ['ignore', 2, 2]
    const child = childProcess.spawn(command, args, { cwd: root, env, stdio, shell: isWindows })
    child.on('error', (error) => reject(new Error('cannot run npm: ' + error.message)))
    child.on('exit', (code, signal) => resolve(code === null ? signal : code))
  })
}
