import { apns } from './apns.ts'
import { discord } from './discord.ts'
import { expo } from './expo.ts'
import { fcm } from './fcm.ts'
import { inApp } from './in-app.ts'
import { mailgun } from './mailgun.ts'
import { msTeams } from './ms-teams.ts'
import { postmark } from './postmark.ts'
import { resend } from './resend.ts'
import { sendgrid } from './sendgrid.ts'
import { ses } from './ses.ts'
import { slack } from './slack.ts'
import { smtp } from './smtp.ts'
import { sns } from './sns.ts'
import { twilio } from './twilio.ts'
import { vonage } from './vonage.ts'
import { webhook } from './webhook.ts'
import { webpush } from './webpush.ts'

/** Every provider. To add one: write its file, then name it here. */
export const providers = {
  apns,
  discord,
  expo,
  fcm,
  in_app: inApp,
  mailgun,
  ms_teams: msTeams,
  postmark,
  resend,
  sendgrid,
  ses,
  slack,
  smtp,
  sns,
  twilio,
  vonage,
  webhook,
  webpush,
} as const

/** They as a list, the same one each time: what is compiled for a list of providers is kept with it. */
export const providerList = Object.values(providers)

export type ProviderName = keyof typeof providers

export function isProviderName(name: string): name is ProviderName {
  return Object.hasOwn(providers, name)
}
