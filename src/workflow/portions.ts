/**
 * Work in portions, so that whoever does it can let other work have its turn in between. Each tells
 * about how many template tags it was worth; the largest is one template.
 */
export type Portions<Result> = Generator<number, Result>

/** Bytes of YAML that take about as long as a tag of a template. */
const YAML_BYTES_PER_TAG = 50

/** What a file of YAML is worth. */
export function weightOfYaml(bytes: number): number {
  return bytes / YAML_BYTES_PER_TAG
}

/** Characters of MJML that take about as long to compile as a tag of a template. */
const MJML_CHARACTERS_PER_TAG = 4

/** What a template is worth that MJML is compiled from. */
export function weightOfMjml(text: string): number {
  return weightOfTemplate(text) + text.length / MJML_CHARACTERS_PER_TAG
}

/** What a template is worth. */
export function weightOfTemplate(text: string): number {
  let tags = 0
  for (let at = text.indexOf('{{'); at >= 0; at = text.indexOf('{{', at + 2)) tags += 1
  return tags
}

/** Does all of it now. */
export function inOneGo<Result>(portions: Portions<Result>): Result {
  for (;;) {
    const { done, value } = portions.next()
    if (done === true) return value
  }
}
